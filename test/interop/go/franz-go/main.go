// Writes a data set with franz-go, or reads a topic back: see ../wire.
package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"holdfast.test/interop/wire"
)

func main() {
	wire.Main(wire.Program{Produce: produce, Consume: consume, Tour: tour})
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
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
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
	other, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer other.Close()
	if topics, err := kadm.NewClient(other).ListTopics(ctx); err != nil || topics.Has(topic) {
		return fmt.Errorf("the topic is still listed: %v", err)
	}
	return nil
}
