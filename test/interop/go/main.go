// Writes a data set (see ../data-set.ts for the file) with franz-go, or reads a topic back and prints one
// digest per partition.
//
//	program produce ADDRESS TOPIC FILE PARTITIONS
//	program consume ADDRESS TOPIC PARTITIONS
//
// Prints "progress N" now and then, "acked N" after writing, "partition P COUNT SHA256" after reading.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const progressEvery = 500

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 5 && args[0] == "produce":
		partitions, err := strconv.Atoi(args[4])
		if err != nil {
			return err
		}
		return produce(args[1], args[2], args[3], partitions)
	case len(args) == 4 && args[0] == "consume":
		partitions, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return consume(args[1], args[2], partitions)
	}
	return fmt.Errorf("cannot read the arguments %q", args)
}

func codecs() []kgo.CompressionCodec {
	return []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
}

// acks keeps what the acknowledgements said.
type acks struct {
	mutex      sync.Mutex
	count      int64
	nextOffset []int64
	failure    error
}

func (a *acks) add(record *kgo.Record, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if err != nil {
		a.fail(err)
		return
	}
	// The topic was empty, so the offsets of each partition are dense from 0.
	expected := a.nextOffset[record.Partition]
	a.nextOffset[record.Partition]++
	if record.Offset != expected {
		a.fail(fmt.Errorf("partition %d: acknowledged at %d where %d was due", record.Partition, record.Offset, expected))
		return
	}
	a.count++
	if a.count%progressEvery == 0 {
		fmt.Println("progress", a.count)
	}
}

func (a *acks) fail(err error) {
	if a.failure == nil {
		a.failure = err
	}
}

func (a *acks) failed() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.failure
}

func produce(address, topic, path string, partitions int) error {
	ctx := context.Background()
	clients := make([]*kgo.Client, 0, 5)
	for _, codec := range codecs() {
		// Idempotence is the default; a batch that may have been lost must fail the run, not be skipped.
		client, err := kgo.NewClient(
			kgo.SeedBrokers(address),
			kgo.DefaultProduceTopic(topic),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerBatchCompression(codec),
			kgo.StopProducerOnDataLossDetected(),
			kgo.MaxBufferedRecords(20_000),
			kgo.MaxBufferedBytes(32<<20),
		)
		if err != nil {
			return err
		}
		defer client.Close()
		clients = append(clients, client)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	seen := &acks{nextOffset: make([]int64, partitions)}
	codecOf := map[int32]uint8{}
	var sent int64
	for seen.failed() == nil {
		record, codec, err := readRecord(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if before, known := codecOf[record.Partition]; known && before != codec {
			for _, client := range clients {
				if err := client.Flush(ctx); err != nil {
					return err
				}
			}
			clear(codecOf)
		}
		codecOf[record.Partition] = codec
		clients[codec].Produce(ctx, record, seen.add)
		sent++
	}
	for _, client := range clients {
		if err := client.Flush(ctx); err != nil {
			return err
		}
	}
	if err := seen.failed(); err != nil {
		return err
	}
	if seen.count != sent {
		return fmt.Errorf("%d sent, %d acknowledged", sent, seen.count)
	}
	fmt.Println("acked", seen.count)
	return nil
}

func readRecord(in io.Reader) (*kgo.Record, uint8, error) {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, 0, err
	}
	record := &kgo.Record{Partition: int32(binary.BigEndian.Uint32(head[:4]))}
	var err error
	if record.Key, err = readBlob(in); err != nil {
		return nil, 0, err
	}
	if record.Value, err = readBlob(in); err != nil {
		return nil, 0, err
	}
	count, err := readInt32(in)
	if err != nil {
		return nil, 0, err
	}
	for range count {
		name, err := readBlob(in)
		if err != nil {
			return nil, 0, err
		}
		value, err := readBlob(in)
		if err != nil {
			return nil, 0, err
		}
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: string(name), Value: value})
	}
	return record, head[4], nil
}

func readInt32(in io.Reader) (int32, error) {
	var bytes [4]byte
	if _, err := io.ReadFull(in, bytes[:]); err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(bytes[:])), nil
}

func readBlob(in io.Reader) ([]byte, error) {
	length, err := readInt32(in)
	if err != nil || length < 0 {
		return nil, err
	}
	bytes := make([]byte, length)
	_, err = io.ReadFull(in, bytes)
	return bytes, err
}

func consume(address, topic string, partitions int) error {
	ctx := context.Background()
	offsets := map[int32]kgo.Offset{}
	digests := make([]hash.Hash, partitions)
	counts := make([]int64, partitions)
	for i := range partitions {
		offsets[int32(i)] = kgo.NewOffset().At(0)
		digests[i] = sha256.New()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(address),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	var total, read int64
	for i := range partitions {
		end, found := ends.Lookup(topic, int32(i))
		if !found || end.Err != nil {
			return fmt.Errorf("partition %d has no end offset: %v", i, end.Err)
		}
		total += end.Offset
	}
	for read < total {
		fetches := client.PollFetches(ctx)
		for _, fault := range fetches.Errors() {
			return fmt.Errorf("partition %d: %w", fault.Partition, fault.Err)
		}
		for _, record := range fetches.Records() {
			if record.Offset != counts[record.Partition] {
				return fmt.Errorf("partition %d: offset %d where %d was due", record.Partition, record.Offset, counts[record.Partition])
			}
			counts[record.Partition]++
			add(digests[record.Partition], record)
			if read++; read%progressEvery == 0 {
				fmt.Println("progress", read)
			}
		}
	}
	for i := range partitions {
		fmt.Println("partition", i, counts[i], hex.EncodeToString(digests[i].Sum(nil)))
	}
	return nil
}

func add(digest hash.Hash, record *kgo.Record) {
	addBlob(digest, record.Key)
	addBlob(digest, record.Value)
	addInt32(digest, int32(len(record.Headers)))
	for _, header := range record.Headers {
		addBlob(digest, []byte(header.Key))
		addBlob(digest, header.Value)
	}
}

func addBlob(digest hash.Hash, bytes []byte) {
	if bytes == nil {
		addInt32(digest, -1)
		return
	}
	addInt32(digest, int32(len(bytes)))
	digest.Write(bytes)
}

func addInt32(digest hash.Hash, value int32) {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], uint32(value))
	digest.Write(bytes[:])
}
