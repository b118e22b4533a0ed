// Writes a data set with franz-go, or reads a topic back: see ../wire.
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"holdfast.test/interop/wire"
)

func main() {
	wire.Main(wire.Program{
		Produce: produce, Consume: consume, Tour: tour, Member: member, Copy: transact, Follow: follow,
	})
}

func codecs() []kgo.CompressionCodec {
	return []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
}

func produce(address, topic, path string, acks *wire.Acks) error {
	ctx := context.Background()
	clients := make([]*kgo.Client, 0, 5)
	for _, codec := range codecs() {
		// Idempotence is the default; a batch that may have been lost must fail the run, not be skipped.
		client, err := kgo.NewClient(
			kgo.SeedBrokers(strings.Split(address, ",")...),
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
	acknowledged := func(record *kgo.Record, err error) { acks.Add(record.Partition, record.Offset, err) }
	return wire.Write(path, acks, wire.Writer{
		Send: func(record wire.Record) {
			sent := &kgo.Record{Partition: record.Partition, Key: record.Key, Value: record.Value}
			for _, header := range record.Headers {
				sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
			}
			clients[record.Codec].Produce(ctx, sent, acknowledged)
		},
		Flush: func() error {
			for _, client := range clients {
				if err := client.Flush(ctx); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func consume(address, topic string, gathered *wire.Gathered) error {
	ctx := context.Background()
	offsets := map[int32]kgo.Offset{}
	for i := range gathered.Partitions {
		offsets[int32(i)] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(address, ",")...),
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
	for i := range gathered.Partitions {
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
			headers := make([]wire.Header, 0, len(record.Headers))
			for _, header := range record.Headers {
				headers = append(headers, wire.Header{Name: header.Key, Value: header.Value})
			}
			if read, err = gathered.Add(record.Partition, record.Offset, record.Key, record.Value, headers); err != nil {
				return err
			}
		}
	}
	return nil
}

func tour(address, topic string) error {
	ctx := context.Background()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(address, ",")...))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	value := wire.TourValue
	if _, err := admin.CreateTopic(ctx, 3, 1, map[string]*string{wire.TourSetting: &value}, topic); err != nil {
		return err
	}
	if topics, err := admin.ListTopics(ctx); err != nil || !topics.Has(topic) {
		return fmt.Errorf("the topic is not listed: %v", err)
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	for _, config := range described[0].Configs {
		if config.Key == wire.TourSetting && config.MaybeValue() != value {
			return fmt.Errorf("%s is %q", config.Key, config.MaybeValue())
		}
	}
	for _, text := range []string{"one", "two", "three"} {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(text)}).FirstErr(); err != nil {
			return err
		}
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	var total int64
	ends.Each(func(end kadm.ListedOffset) { total += end.Offset })
	if total != 3 {
		return fmt.Errorf("%d records after 3 were written", total)
	}
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		return err
	}
	// What one client has seen of a topic it remembers for some seconds.
	other, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(address, ",")...))
	if err != nil {
		return err
	}
	defer other.Close()
	if topics, err := kadm.NewClient(other).ListTopics(ctx); err != nil || topics.Has(topic) {
		return fmt.Errorf("the topic is still listed: %v", err)
	}
	return nil
}

// member handles what it polls, commits it and only then lets the group rebalance.
func member(ctx context.Context, told *wire.Membership) error {
	var mutex sync.Mutex
	var owned []int32
	taken := func(_ context.Context, client *kgo.Client, added map[string][]int32) {
		mutex.Lock()
		defer mutex.Unlock()
		owned = append(owned, added[told.Topic]...)
		_, generation := client.GroupMetadata()
		told.Owns(generation, owned)
	}
	givenUp := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
		mutex.Lock()
		defer mutex.Unlock()
		owned = slices.DeleteFunc(owned, func(each int32) bool { return slices.Contains(gone[told.Topic], each) })
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(told.Address, ",")...),
		kgo.ConsumerGroup(told.Group),
		kgo.ConsumeTopics(told.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(taken),
		kgo.OnPartitionsRevoked(givenUp),
		kgo.OnPartitionsLost(givenUp),
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
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		records := client.PollRecords(ctx, 100).Records()
		if len(records) > 0 {
			done := make([]wire.Done, 0, len(records))
			offsets := map[int32]kgo.EpochOffset{}
			for _, record := range records {
				done = append(done, wire.Done{Partition: record.Partition, Offset: record.Offset, Value: record.Value})
				offsets[record.Partition] = kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
			}
			told.Did(done)
			commit(client, told, map[string]map[int32]kgo.EpochOffset{told.Topic: offsets})
		}
		client.AllowRebalance()
	}
	return nil
}

// commit is not ended with the context: what was handled is committed before the member leaves.
func commit(client *kgo.Client, told *wire.Membership, offsets map[string]map[int32]kgo.EpochOffset) {
	answered := func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			told.Refused(err)
			return
		}
		for _, topic := range answer.Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					told.Refused(err)
				} else {
					told.Committed(partition.Partition, offsets[told.Topic][partition.Partition].Offset)
				}
			}
		}
	}
	if told.CommitsAsync {
		client.CommitOffsets(context.Background(), offsets, answered)
	} else {
		client.CommitOffsetsSync(context.Background(), offsets, answered)
	}
}
