package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func producer(address, topic string, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, more...)...)
}

// batches counts what the client put on the wire.
type batches struct{ count, bytes atomic.Int64 }

func (b *batches) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, batch kgo.ProduceBatchMetrics) {
	b.count.Add(1)
	b.bytes.Add(int64(batch.UncompressedBytes))
}

// sender sends records round robin and keeps the latencies of a sample of them.
type sender struct {
	client     *kgo.Client
	partitions int
	values     [][]byte
	acked      atomic.Int64
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
		if err == nil {
			s.acked.Add(1)
			if !sampled {
				return
			}
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

// fill writes a number of records and waits for all of them.
func fill(ctx context.Context, address, topic string, partitions, records, size int) error {
	client, err := producer(address, topic)
	if err != nil {
		return err
	}
	defer client.Close()
	s := newSender(client, partitions, size)
	begun := time.Now()
	for number := range records {
		s.send(ctx, number, false)
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	return s.print(int64(records), size, time.Since(begun), nil)
}

const (
	warmupPerPartition = 10
	warmupLimit        = 10 * time.Second
)

// produce writes without a pause for two times: first unmeasured, then counted. It says "measuring" between
// them, so that who started it can look at the broker at that moment, and does not wait for what is under way
// at the end: a rate is what was acknowledged within the second time.
func produce(ctx context.Context, address, topic string, partitions, size, warmupMs, measureMs, perSecond int) error {
	written := &batches{}
	client, err := producer(address, topic, kgo.WithHooks(written))
	if err != nil {
		return err
	}
	s := newSender(client, partitions, size)
	var sampling atomic.Bool
	// A broker that does not take more stops the loop below, but not the clock.
	go func() {
		started := time.Now()
		for number := 0; ; number++ {
			if perSecond > 0 {
				if ahead := time.Duration(number)*time.Second/time.Duration(perSecond) - time.Since(started); ahead > time.Millisecond {
					time.Sleep(ahead)
				}
			}
			s.send(ctx, number, number%sampleEvery == 0 && sampling.Load())
		}
	}()
	time.Sleep(time.Duration(warmupMs) * time.Millisecond)
	// A broker opens its files for a partition's first records: that belongs to the warm-up, for a bounded time.
	for late := time.Now().Add(warmupLimit); s.acked.Load() < int64(partitions*warmupPerPartition) && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
	}
	sampling.Store(true)
	before, countBefore, bytesBefore := s.acked.Load(), written.count.Load(), written.bytes.Load()
	begun := time.Now()
	fmt.Println("measuring")
	time.Sleep(time.Duration(measureMs) * time.Millisecond)
	acked, took := s.acked.Load()-before, time.Since(begun)
	count, bytes := written.count.Load()-countBefore, written.bytes.Load()-bytesBefore
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failure != nil {
		return s.failure
	}
	return s.print(acked, size, took, func(m *measured) {
		if count > 0 {
			m.BatchKb = float64(bytes) / float64(count) / 1000
		}
	})
}

// paced writes at a rate, without lingering; the first tenth warms up.
func paced(ctx context.Context, address, topic string, partitions, records, size, perSecond int) error {
	client, err := producer(address, topic, kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer client.Close()
	s := newSender(client, partitions, size)
	begun := time.Now()
	for number := range records {
		s.send(ctx, number, number >= records/10)
		if ahead := time.Duration(number)*time.Second/time.Duration(perSecond) - time.Since(begun); ahead > 0 {
			time.Sleep(ahead)
		}
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.print(int64(records), size, time.Since(begun), nil)
}

// print tells how many records were acknowledged in what time. Under full load the latencies measure the
// client's own queue.
func (s *sender) print(records int64, size int, took time.Duration, more func(*measured)) error {
	slices.Sort(s.latencies)
	at := func(share float64) float64 {
		if len(s.latencies) == 0 {
			return 0
		}
		return float64(s.latencies[int(share*float64(len(s.latencies)-1))].Microseconds()) / 1000
	}
	line := measuredOf(records, size, took)
	line.P50Ms, line.P99Ms = at(0.5), at(0.99)
	if more != nil {
		more(&line)
	}
	return line.print()
}
