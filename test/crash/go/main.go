// Writes to a broker that is killed again and again, keeps a journal of what was acknowledged and of what
// was served, and at the end reads everything and compares.
//
//	program ADDRESS TOPIC PARTITIONS RECORDS_PER_SECOND
//
// Prints "acked N" every 20 ms. When standard input closes it stops writing, waits until every record has
// its answer, reads all partitions and prints one line of JSON: see report.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// report counts what was found; everything after Served must be 0, and Failures empty.
type report struct {
	Sent   int64 `json:"sent"`
	Acked  int64 `json:"acked"`
	Read   int64 `json:"read"`
	Served int64 `json:"served"`
	// Acknowledged, and nowhere in the partition.
	Lost int64 `json:"lost"`
	// Acknowledged at one offset, found at another.
	Moved int64 `json:"moved"`
	// Found more than once in the partition.
	Doubled int64 `json:"doubled"`
	// Found behind a record that was sent later.
	Disordered int64 `json:"disordered"`
	// Bytes that nobody sent.
	Corrupt int64 `json:"corrupt"`
	// Served to the reader during the run, and other bytes or none at the end.
	Unsaid int64 `json:"unsaid"`
	// Offsets below the end at which nothing is.
	Gaps     int64    `json:"gaps"`
	Failures []string `json:"failures"`
}

const (
	clientCount   = 3
	valueBytesMin = 24
	valueBytesMax = 2000
	finalReadMax  = 15 * time.Minute
	answersMax    = 2 * time.Minute
	silenceMax    = 5 * time.Second
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("cannot read the arguments %q", args)
	}
	partitions, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	perSecond, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	load, err := newLoad(args[0], args[1], partitions)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	go load.printProgress(stop)
	reading, stopReading := context.WithCancel(context.Background())
	var reader sync.WaitGroup
	reader.Go(func() { load.follow(reading) })
	load.write(stop, perSecond)
	stopReading()
	reader.Wait()
	result, err := load.compare()
	if err != nil {
		return err
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// one acknowledgement: the record's number in its partition and the offset it was given.
type ack struct{ number, offset int64 }

type load struct {
	address, topic string
	partitions     int
	clients        []*kgo.Client
	sent, acked    atomic.Int64

	mutex sync.Mutex
	// Per partition, in the order of the answers.
	acks [][]ack
	// Per partition, the checksum of the value served at each offset.
	served   [][]uint32
	failures []string
}

func options(address string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(strings.Split(address, ",")...),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.DialTimeout(time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryTimeout(answersMax),
	}
}

func newLoad(address, topic string, partitions int) (*load, error) {
	l := &load{address: address, topic: topic, partitions: partitions}
	l.acks = make([][]ack, partitions)
	l.served = make([][]uint32, partitions)
	for range clientCount {
		// Idempotence is the default, and a producer that hears of lost data stops for good: nothing may hide.
		client, err := kgo.NewClient(append(options(address),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.StopProducerOnDataLossDetected(),
			kgo.MaxBufferedRecords(4000),
			kgo.ProducerBatchMaxBytes(64<<10),
		)...)
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, client)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := kadm.NewClient(l.clients[0]).CreateTopic(ctx, int32(partitions), 1, nil, topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		err = nil
	}
	return l, err
}

func (l *load) printProgress(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
			fmt.Println("acked", l.acked.Load())
		}
	}
}

// write sends to all partitions until it is told to stop, and returns when every record has its answer.
func (l *load) write(stop <-chan struct{}, perSecond int) {
	next := make([]int64, l.partitions)
	begun := time.Now()
	for turn := 0; ; turn++ {
		select {
		case <-stop:
			ctx, cancel := context.WithTimeout(context.Background(), answersMax)
			defer cancel()
			for _, client := range l.clients {
				if err := client.Flush(ctx); err != nil {
					l.fail(fmt.Sprintf("records without an answer after %s: %v", answersMax, err))
				}
				client.Close()
			}
			return
		default:
		}
		partition := turn % l.partitions
		number := next[partition]
		next[partition]++
		l.sent.Add(1)
		record := &kgo.Record{Topic: l.topic, Partition: int32(partition), Value: valueOf(partition, number)}
		l.clients[partition%clientCount].Produce(context.Background(), record, func(record *kgo.Record, err error) {
			l.mutex.Lock()
			defer l.mutex.Unlock()
			if err != nil {
				l.failLocked(fmt.Sprintf("partition %d, record %d was refused: %v", partition, number, err))
				return
			}
			l.acks[partition] = append(l.acks[partition], ack{number, record.Offset})
			l.acked.Add(1)
		})
		ahead := time.Duration(turn)*time.Second/time.Duration(perSecond) - time.Since(begun)
		if ahead > 5*time.Millisecond {
			time.Sleep(ahead)
		}
	}
}

// follow reads along and notes what is served.
func (l *load) follow(ctx context.Context) {
	client, err := l.reader()
	if err != nil {
		l.fail(err.Error())
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		l.mutex.Lock()
		for _, fault := range fetches.Errors() {
			// The broker is away half the time; what counts is that no offset is out of range afterwards.
			if errors.Is(fault.Err, kerr.OffsetOutOfRange) {
				l.failLocked(fmt.Sprintf("partition %d: what was served is gone: %v", fault.Partition, fault.Err))
			}
		}
		for _, record := range fetches.Records() {
			served := l.served[record.Partition]
			if record.Offset != int64(len(served)) {
				l.failLocked(fmt.Sprintf("partition %d: served %d where %d was due", record.Partition, record.Offset, len(served)))
				continue
			}
			l.served[record.Partition] = append(served, crc32.ChecksumIEEE(record.Value))
		}
		l.mutex.Unlock()
	}
}

func (l *load) reader() (*kgo.Client, error) {
	offsets := map[int32]kgo.Offset{}
	for partition := range l.partitions {
		offsets[int32(partition)] = kgo.NewOffset().At(0)
	}
	return kgo.NewClient(append(options(l.address),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(100*time.Millisecond),
	)...)
}

// compare reads everything and holds it against the acknowledgements and against what was served.
func (l *load) compare() (report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), finalReadMax)
	defer cancel()
	found, err := l.readAll(ctx)
	if err != nil {
		return report{}, err
	}
	result := report{Sent: l.sent.Load(), Acked: l.acked.Load()}
	for partition := range l.partitions {
		records := found[partition]
		offsetOf := map[int64]int64{}
		last := int64(-1)
		for offset, record := range records {
			if record.missing {
				result.Gaps++
				continue
			}
			result.Read++
			if !record.intact {
				result.Corrupt++
				continue
			}
			number := record.number
			if _, twice := offsetOf[number]; twice {
				result.Doubled++
				continue
			}
			offsetOf[number] = int64(offset)
			if number < last {
				result.Disordered++
			}
			last = max(last, number)
		}
		for _, one := range l.acks[partition] {
			if offset, there := offsetOf[one.number]; !there {
				result.Lost++
			} else if offset != one.offset {
				result.Moved++
			}
		}
		for offset, checksum := range l.served[partition] {
			result.Served++
			if offset >= len(records) || records[offset].checksum != checksum {
				result.Unsaid++
			}
		}
	}
	result.Failures = append([]string{}, l.failures...)
	return result, nil
}

// finding is what is kept of a record that was read: its number, whether its bytes are those that were sent.
type finding struct {
	number   int64
	intact   bool
	checksum uint32
	missing  bool
}

func (l *load) readAll(ctx context.Context) ([][]finding, error) {
	client, err := l.reader()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, l.topic)
	if err != nil {
		return nil, err
	}
	found := make([][]finding, l.partitions)
	left := int64(0)
	ends.Each(func(end kadm.ListedOffset) { left += end.Offset })
	for left > 0 {
		// What is not there after so long, from a broker that is not killed any more, is a gap.
		patience, cancel := context.WithTimeout(ctx, silenceMax)
		fetches := client.PollFetches(patience)
		silent := patience.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d records were not yet read after %v", left, finalReadMax)
		}
		if silent {
			break
		}
		for _, fault := range fetches.Errors() {
			return nil, fmt.Errorf("partition %d with %d records to read: %w", fault.Partition, left, fault.Err)
		}
		for _, record := range fetches.Records() {
			partition := record.Partition
			left -= record.Offset + 1 - int64(len(found[partition]))
			found[partition] = padded(found[partition], record.Offset)
			number, intact := numberOf(int(partition), record.Value)
			found[partition] = append(found[partition], finding{number, intact, crc32.ChecksumIEEE(record.Value), false})
		}
	}
	ends.Each(func(end kadm.ListedOffset) { found[end.Partition] = padded(found[end.Partition], end.Offset) })
	return found, nil
}

// padded fills the offsets up to an end at which nothing was found.
func padded(findings []finding, end int64) []finding {
	for int64(len(findings)) < end {
		findings = append(findings, finding{missing: true})
	}
	return findings
}

// valueOf makes the bytes of a record from its partition and number alone, so that nothing needs keeping.
func valueOf(partition int, number int64) []byte {
	seed := uint64(partition)<<48 ^ uint64(number)*0x9e3779b97f4a7c15
	length := valueBytesMin + int(seed>>33%uint64(valueBytesMax-valueBytesMin))
	value := make([]byte, length)
	binary.BigEndian.PutUint32(value, uint32(partition))
	binary.BigEndian.PutUint64(value[4:], uint64(number))
	for at := 12; at < length; at++ {
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		value[at] = byte(seed)
	}
	return value
}

func numberOf(partition int, value []byte) (int64, bool) {
	if len(value) < valueBytesMin || binary.BigEndian.Uint32(value) != uint32(partition) {
		return 0, false
	}
	number := int64(binary.BigEndian.Uint64(value[4:]))
	return number, bytes.Equal(value, valueOf(partition, number))
}

func (l *load) fail(sentence string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.failLocked(sentence)
}

// failLocked keeps the first failures; thousands of the same kind tell no more.
func (l *load) failLocked(sentence string) {
	if len(l.failures) < 20 {
		l.failures = append(l.failures, sentence)
	}
}
