package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transactions commits transactions of so many records, round robin over the partitions, each begun when the one
// before is committed; its "records" are transactions, and its latencies are theirs.
func transactions(ctx context.Context, address, topic string, partitions, records, bytes, warmupMs, measureMs int) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(address),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID("bench"),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	value := make([]byte, bytes)
	sent := 0
	transaction := func() error {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		var failure error
		for range records {
			record := &kgo.Record{Partition: int32(sent % partitions), Value: value}
			sent++
			client.Produce(ctx, record, func(_ *kgo.Record, err error) {
				if err != nil {
					failure = err
				}
			})
		}
		if err := client.Flush(ctx); err != nil {
			return err
		}
		if failure != nil {
			return failure
		}
		return client.EndTransaction(ctx, kgo.TryCommit)
	}
	for begun := time.Now(); time.Since(begun) < time.Duration(warmupMs)*time.Millisecond; {
		if err := transaction(); err != nil {
			return err
		}
	}
	fmt.Println("measuring")
	var took []time.Duration
	begun := time.Now()
	for last := begun; last.Sub(begun) < time.Duration(measureMs)*time.Millisecond; {
		if err := transaction(); err != nil {
			return err
		}
		now := time.Now()
		took = append(took, now.Sub(last))
		last = now
	}
	return said(took, time.Since(begun).Seconds())
}
