package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"holdfast.test/interop/wire"
)

// transact copies in sessions of franz-go, which go back by themselves to what the group has committed.
func transact(ctx context.Context, told *wire.Copying) error {
	for ctx.Err() == nil {
		session, err := newSession(told)
		if err != nil {
			return err
		}
		// After an error that its producer does not bear, another one goes on.
		err = copyUntil(ctx, session, told)
		session.Close()
		if err != nil {
			told.Refused(err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

func newSession(told *wire.Copying) (*kgo.GroupTransactSession, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(told.Address, ",")...),
		kgo.ConsumerGroup(told.Group),
		kgo.ConsumeTopics(told.Input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.TransactionalID(told.TransactionalID),
		kgo.TransactionTimeout(told.Timeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.SessionTimeout(told.Session),
		kgo.HeartbeatInterval(told.Session / 5),
	}
	switch told.Protocol {
	case "consumer":
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	case "cooperative":
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	default:
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	return kgo.NewGroupTransactSession(options...)
}

func copyUntil(ctx context.Context, session *kgo.GroupTransactSession, told *wire.Copying) error {
	for ctx.Err() == nil {
		records := session.PollRecords(ctx, told.Lot).Records()
		if len(records) == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		ends := map[int32]int64{}
		for _, record := range records {
			copied := &kgo.Record{Topic: told.Output, Partition: record.Partition, Key: record.Key, Value: record.Value}
			session.Produce(context.Background(), copied, nil)
			ends[record.Partition] = record.Offset + 1
		}
		flushed := session.Client().Flush(context.Background())
		time.Sleep(told.Pause)
		aborts := told.Aborts()
		// What could not be produced fails the commit.
		committed, err := session.End(context.Background(), kgo.TransactionEndTry(!aborts && flushed == nil))
		switch {
		case err != nil:
			return err
		case committed:
			told.Committed(len(records), ends)
		case aborts:
			told.Aborted(len(records))
		default:
			told.Refused("the group is being rebalanced, or something could not be produced")
		}
	}
	return nil
}

// follow reads all partitions from their start.
func follow(address, topic string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(address, ",")...),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		for _, record := range client.PollFetches(context.Background()).Records() {
			fmt.Printf("record %d %d %s\n", record.Partition, record.Offset, record.Value)
		}
	}
}
