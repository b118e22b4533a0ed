// Writes a data set with sarama, or reads a topic back: see ../wire.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"holdfast.test/interop/wire"
)

func main() {
	wire.Main(wire.Program{Produce: produce, Consume: consume, Tour: tour, Member: member})
}

func codecs() []sarama.CompressionCodec {
	return []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
}

// config has what both need; without a version sarama would speak as to a broker of 2019.
func config() *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = "interop"
	config.Version = sarama.MaxVersion
	config.Metadata.Retry.Max = 200
	config.Metadata.Retry.Backoff = 100 * time.Millisecond
	return config
}

func produce(address, topic, path string, acks *wire.Acks) error {
	producers := make([]sarama.AsyncProducer, 0, 5)
	var outstanding, listening sync.WaitGroup
	for _, codec := range codecs() {
		config := config()
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Partitioner = sarama.NewManualPartitioner
		config.Producer.Compression = codec
		config.Producer.Return.Successes = true
		// sarama keeps a slot for each retry that it may make, so the number is not a huge one.
		config.Producer.Retry.Max = 3_000
		config.Producer.Retry.Backoff = 100 * time.Millisecond
		config.Producer.Flush.Frequency = 5 * time.Millisecond
		producer, err := sarama.NewAsyncProducer(strings.Split(address, ","), config)
		if err != nil {
			return err
		}
		listening.Go(func() {
			for message := range producer.Successes() {
				acks.Add(message.Partition, message.Offset, nil)
				outstanding.Done()
			}
		})
		listening.Go(func() {
			for fault := range producer.Errors() {
				acks.Add(fault.Msg.Partition, fault.Msg.Offset, fault.Err)
				outstanding.Done()
			}
		})
		producers = append(producers, producer)
	}
	err := wire.Write(path, acks, wire.Writer{
		Send: func(record wire.Record) {
			outstanding.Add(1)
			producers[record.Codec].Input() <- message(topic, record)
		},
		Flush: func() error {
			outstanding.Wait()
			return nil
		},
	})
	for _, producer := range producers {
		producer.AsyncClose()
	}
	listening.Wait()
	return err
}

func message(topic string, record wire.Record) *sarama.ProducerMessage {
	message := &sarama.ProducerMessage{Topic: topic, Partition: record.Partition}
	if record.Key != nil {
		message.Key = sarama.ByteEncoder(record.Key)
	}
	if record.Value != nil {
		message.Value = sarama.ByteEncoder(record.Value)
	}
	for _, header := range record.Headers {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
	}
	return message
}

func consume(address, topic string, gathered *wire.Gathered) error {
	config := config()
	config.Consumer.Return.Errors = true
	config.Consumer.Retry.Backoff = 200 * time.Millisecond
	client, err := sarama.NewClient(strings.Split(address, ","), config)
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	failures := make(chan error, gathered.Partitions)
	for i := range gathered.Partitions {
		go func() { failures <- consumePartition(client, consumer, topic, int32(i), gathered) }()
	}
	for range gathered.Partitions {
		err = errors.Join(err, <-failures)
	}
	return err
}

func consumePartition(client sarama.Client, consumer sarama.Consumer, topic string, partition int32, gathered *wire.Gathered) error {
	end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil || end == 0 {
		return err
	}
	messages, err := consumer.ConsumePartition(topic, partition, 0)
	if err != nil {
		return err
	}
	defer messages.AsyncClose()
	for {
		select {
		case message := <-messages.Messages():
			headers := make([]wire.Header, 0, len(message.Headers))
			for _, header := range message.Headers {
				headers = append(headers, wire.Header{Name: string(header.Key), Value: header.Value})
			}
			if _, err := gathered.Add(partition, message.Offset, message.Key, message.Value, headers); err != nil {
				return err
			}
			if message.Offset == end-1 {
				return nil
			}
		case fault := <-messages.Errors():
			// A connection that broke is dialled again by sarama itself; an offset that is gone is not.
			if errors.Is(fault.Err, sarama.ErrOffsetOutOfRange) {
				return fmt.Errorf("partition %d: %w", partition, fault.Err)
			}
		}
	}
}

// tour keeps sarama's own default version, which is an old one.
func tour(address, topic string) error {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true // a SyncProducer asks for it
	client, err := sarama.NewClient(strings.Split(address, ","), config)
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	defer admin.Close()
	value := wire.TourValue
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1, ConfigEntries: map[string]*string{wire.TourSetting: &value}}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		return err
	}
	topics, err := admin.ListTopics()
	if err != nil {
		return err
	}
	if found := topics[topic].ConfigEntries[wire.TourSetting]; found == nil || *found != value {
		return fmt.Errorf("the topic is listed with %v", topics[topic])
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return err
	}
	for _, text := range []string{"one", "two", "three"} {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(text)}); err != nil {
			return err
		}
	}
	if err := producer.Close(); err != nil {
		return err
	}
	var total int64
	for partition := range int32(3) {
		end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
		if err != nil {
			return err
		}
		total += end
	}
	if total != 3 {
		return fmt.Errorf("%d records after 3 were written", total)
	}
	if err := admin.DeleteTopic(topic); err != nil {
		return err
	}
	if topics, err = admin.ListTopics(); err != nil {
		return err
	}
	if _, found := topics[topic]; found {
		return errors.New("the topic is still listed")
	}
	return nil
}

// member commits by itself, or marks what is done and lets sarama commit it. Neither tells of what was
// committed, only of failures.
func member(ctx context.Context, told *wire.Membership) error {
	config := config()
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = told.CommitsAsync
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	config.Consumer.Group.Session.Timeout = told.Session
	config.Consumer.Group.Heartbeat.Interval = told.Session / 5
	strategy := sarama.NewBalanceStrategyRange()
	if told.Protocol == "cooperative" {
		strategy = sarama.NewBalanceStrategyCooperativeSticky()
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	group, err := sarama.NewConsumerGroup(strings.Split(told.Address, ","), told.Group, config)
	if err != nil {
		return err
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for fault := range group.Errors() {
			told.Refused(fault)
		}
	})
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{told.Topic}, &claims{told}); err != nil {
			told.Refused(err)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	err = group.Close()
	listening.Wait()
	return err
}

type claims struct {
	told *wire.Membership
}

// Setup tells what the member owns; for a cooperative member it runs only once.
func (c *claims) Setup(session sarama.ConsumerGroupSession) error {
	c.told.Owns(session.GenerationID(), session.Claims()[c.told.Topic])
	return nil
}

// Cleanup has nothing to do: what was marked is committed after it.
func (c *claims) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim handles one partition, as many records at a time as are there.
func (c *claims) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	if c.told.Protocol == "cooperative" {
		c.told.Owns(session.GenerationID(), []int32{claim.Partition()})
	}
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			messages := []*sarama.ConsumerMessage{message}
			for len(messages) < 100 && len(claim.Messages()) > 0 {
				next, open := <-claim.Messages()
				if !open {
					break
				}
				messages = append(messages, next)
			}
			done := make([]wire.Done, 0, len(messages))
			for _, each := range messages {
				done = append(done, wire.Done{Partition: each.Partition, Offset: each.Offset, Value: each.Value})
			}
			c.told.Did(done)
			session.MarkMessage(messages[len(messages)-1], "")
			if !c.told.CommitsAsync {
				session.Commit()
			}
		}
	}
}
