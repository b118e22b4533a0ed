package main

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// even writes batches of the same number of records, one after another round robin over the partitions, so
// that brokers with few and with many partitions get the same batches. Batches of a partition wait for each
// other; requests hold as many as franz-go puts together.
func even(ctx context.Context, address, topic string, partitions, records, size, perBatch int) error {
	client, err := producer(address, topic,
		kgo.ProducerLinger(time.Minute), // batches leave by Flush alone
		kgo.MaxBufferedRecords(partitionsPerFlush*perBatch+1),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	s := newSender(client, 1, size)
	begun := time.Now()
	sent := 0
	for first := 0; sent < records; first = (first + partitionsPerFlush) % partitions {
		var done sync.WaitGroup
		for partition := first; partition < first+partitionsPerFlush; partition++ {
			for range perBatch {
				done.Add(1)
				sent++
				record := &kgo.Record{Partition: int32(partition % partitions), Value: s.values[sent%len(s.values)]}
				client.Produce(ctx, record, func(_ *kgo.Record, err error) {
					defer done.Done()
					if err != nil {
						s.mutex.Lock()
						defer s.mutex.Unlock()
						s.failure = err
					}
				})
			}
		}
		if err := s.finish(ctx); err != nil {
			return err
		}
		done.Wait()
	}
	return s.print(int64(sent), size, time.Since(begun), nil)
}

// partitionsPerFlush bounds what is in memory and on the way at a time.
const partitionsPerFlush = 100
