// The load of the benches with franz-go.
//
//	program create  ADDRESS TOPIC PARTITIONS
//	program delete  ADDRESS TOPIC
//	program produce ADDRESS TOPIC PARTITIONS RECORDS BYTES
//	program paced   ADDRESS TOPIC PARTITIONS RECORDS BYTES PER_SECOND
//	program consume ADDRESS TOPIC PARTITIONS RECORDS BYTES
//
// "produce" writes round robin over all partitions as fast as it can, a tenth more before it starts the
// clock; "paced" writes at a rate, without lingering; "consume" reads all partitions by assignment. Each
// prints one line of JSON, see measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// measured is what one run gives: 10^6 bytes of payload per second, and the time from a record's send to its
// acknowledgement. Under full load the latter measures the client's own queue.
type measured struct {
	Records     int64   `json:"records"`
	Seconds     float64 `json:"seconds"`
	MbPerSecond float64 `json:"mbPerSecond"`
	P50Ms       float64 `json:"p50Ms"`
	P99Ms       float64 `json:"p99Ms"`
}

const limit = 3 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("cannot read the arguments %q", args)
	}
	numbers := make([]int, 0, 4)
	for _, arg := range args[3:] {
		number, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		numbers = append(numbers, number)
	}
	address, topic := args[1], args[2]
	switch command := args[0]; {
	case command == "create" && len(numbers) == 1:
		return create(ctx, address, topic, numbers[0])
	case command == "delete" && len(numbers) == 0:
		return remove(ctx, address, topic)
	case command == "produce" && len(numbers) == 3:
		return produce(ctx, address, topic, numbers[0], numbers[1], numbers[2])
	case command == "paced" && len(numbers) == 4:
		return paced(ctx, address, topic, numbers[0], numbers[1], numbers[2], numbers[3])
	case command == "consume" && len(numbers) == 3:
		return consume(ctx, address, topic, numbers[0], numbers[1], numbers[2])
	}
	return fmt.Errorf("cannot read the arguments %q", args)
}

func create(ctx context.Context, address, topic string, partitions int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, int32(partitions), 1, nil, topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	// A topic counts as made when every partition has a leader.
	for {
		topics, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		led := 0
		for _, partition := range topics[topic].Partitions {
			if partition.Err == nil && partition.Leader >= 0 {
				led++
			}
		}
		if led == partitions {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func remove(ctx context.Context, address, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopic(ctx, topic)
	return err
}

func producer(address, topic string, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, more...)...)
}

// sender sends records round robin and keeps the latencies of a sample of them.
type sender struct {
	client     *kgo.Client
	partitions int
	values     [][]byte
	mutex      sync.Mutex
	failure    error
	latencies  []time.Duration
}

const sampleEvery = 64

func newSender(client *kgo.Client, partitions, size int) *sender {
	s := &sender{client: client, partitions: partitions}
	// Noise, so that no one gains by compressing it, in a few variants, so that making it costs nothing.
	source := rand.New(rand.NewPCG(1, 2))
	for range 64 {
		value := make([]byte, size)
		for at := range value {
			value[at] = byte(source.Uint32())
		}
		s.values = append(s.values, value)
	}
	return s
}

func (s *sender) send(ctx context.Context, number int, sampled bool) {
	record := &kgo.Record{Partition: int32(number % s.partitions), Value: s.values[number%len(s.values)]}
	begun := time.Time{}
	if sampled {
		begun = time.Now()
	}
	s.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
		if err == nil && !sampled {
			return
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if err != nil {
			s.failure = err
		} else {
			s.latencies = append(s.latencies, time.Since(begun))
		}
	})
}

func (s *sender) finish(ctx context.Context) error {
	if err := s.client.Flush(ctx); err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.failure
}

func produce(ctx context.Context, address, topic string, partitions, records, size int) error {
	client, err := producer(address, topic)
	if err != nil {
		return err
	}
	defer client.Close()
	s := newSender(client, partitions, size)
	for number := range records / 10 {
		s.send(ctx, number, false)
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	begun := time.Now()
	for number := range records {
		s.send(ctx, number, number%sampleEvery == 0)
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	return print(int64(records), size, time.Since(begun), s.latencies)
}

func paced(ctx context.Context, address, topic string, partitions, records, size, perSecond int) error {
	client, err := producer(address, topic, kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer client.Close()
	s := newSender(client, partitions, size)
	begun := time.Now()
	for number := range records {
		// The first tenth warms up.
		s.send(ctx, number, number >= records/10)
		if ahead := time.Duration(number)*time.Second/time.Duration(perSecond) - time.Since(begun); ahead > 0 {
			time.Sleep(ahead)
		}
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	return print(int64(records), size, time.Since(begun), s.latencies)
}

func consume(ctx context.Context, address, topic string, partitions, records, size int) error {
	offsets := map[int32]kgo.Offset{}
	for partition := range partitions {
		offsets[int32(partition)] = kgo.NewOffset().At(0)
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
	begun := time.Now()
	read := 0
	for read < records {
		fetches := client.PollFetches(ctx)
		for _, fault := range fetches.Errors() {
			return fmt.Errorf("partition %d: %w", fault.Partition, fault.Err)
		}
		read += fetches.NumRecords()
	}
	return print(int64(read), size, time.Since(begun), nil)
}

func print(records int64, size int, took time.Duration, latencies []time.Duration) error {
	slices.Sort(latencies)
	at := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return float64(latencies[int(share*float64(len(latencies)-1))].Microseconds()) / 1000
	}
	seconds := took.Seconds()
	line, err := json.Marshal(measured{records, seconds, float64(records) * float64(size) / seconds / 1e6, at(0.5), at(0.99)})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}
