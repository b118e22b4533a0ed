package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// said prints what a run of operations gives: how many, in how long, and how long one took.
func said(took []time.Duration, seconds float64) error {
	slices.Sort(took)
	at := func(share float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(share*float64(len(took)-1))]) / float64(time.Millisecond)
	}
	return measured{Records: int64(len(took)), Seconds: seconds, P50Ms: at(0.5), P99Ms: at(0.99)}.print()
}

// committer names topics by name, as version 9 of OffsetCommit is the last to do.
func committer(address string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(address), kgo.MaxVersions(kversion.V4_0_0()))
}

func commitRequest(group, topic string, offset int64) *kmsg.OffsetCommitRequest {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = group
	request.Generation = -1
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	partition.Offset = offset
	wanted := kmsg.NewOffsetCommitRequestTopic()
	wanted.Topic = topic
	wanted.Partitions = []kmsg.OffsetCommitRequestTopicPartition{partition}
	request.Topics = []kmsg.OffsetCommitRequestTopic{wanted}
	return request
}

func commitOnce(ctx context.Context, client *kgo.Client, group, topic string, offset int64) error {
	response, err := commitRequest(group, topic, offset).RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
}

// commits lets many groups commit once a second each, or, with everyMs 0, as fast as an answer follows an answer.
func commits(ctx context.Context, address, topic string, groups, everyMs, seconds int) error {
	client, err := committer(address)
	if err != nil {
		return err
	}
	defer client.Close()
	for group := range groups { // who coordinates is looked up before the clock starts
		if err := commitOnce(ctx, client, name(group), topic, 0); err != nil {
			return err
		}
	}
	var mutex sync.Mutex
	var done sync.WaitGroup
	took := []time.Duration{}
	var failure error
	begun := time.Now()
	end := begun.Add(time.Duration(seconds) * time.Second)
	every := time.Duration(everyMs) * time.Millisecond
	for group := range groups {
		done.Add(1)
		go func() {
			defer done.Done()
			next := begun.Add(every * time.Duration(group) / time.Duration(groups))
			for offset := int64(1); ; offset++ {
				if everyMs > 0 {
					time.Sleep(time.Until(next))
					next = next.Add(every)
				}
				sent := time.Now()
				if sent.After(end) {
					return
				}
				err := commitOnce(ctx, client, name(group), topic, offset)
				mutex.Lock()
				if err != nil {
					failure = err
				}
				took = append(took, time.Since(sent))
				mutex.Unlock()
				if err != nil {
					return
				}
			}
		}()
	}
	done.Wait()
	if failure != nil {
		return failure
	}
	return said(took, time.Since(begun).Seconds())
}

func name(group int) string { return fmt.Sprintf("bench-group-%d", group) }

// idle makes groups that have committed once and do nothing.
func idle(ctx context.Context, address, topic string, groups int) error {
	client, err := committer(address)
	if err != nil {
		return err
	}
	defer client.Close()
	var failure atomic.Pointer[error]
	var done sync.WaitGroup
	const atOnce = 64
	for first := range atOnce {
		done.Add(1)
		go func() {
			defer done.Done()
			for group := first; group < groups && failure.Load() == nil; group += atOnce {
				if err := commitOnce(ctx, client, name(group), topic, 1); err != nil {
					failure.Store(&err)
				}
			}
		}()
	}
	done.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

// rebalance starts the members of a group at once and tells, as p50, the time until every partition has its
// owner and, as p99, the time until that is so again after one of them has left.
func rebalance(ctx context.Context, address, topic string, partitions, members int) error {
	group := fmt.Sprintf("rebalance-%d", time.Now().UnixNano())
	var mutex sync.Mutex
	owned := make([]map[int32]bool, members)
	changed := make(chan struct{}, 1)
	tell := func(member int, has map[string][]int32, owns bool) {
		mutex.Lock()
		for _, partition := range has[topic] {
			if owns {
				owned[member][partition] = true
			} else {
				delete(owned[member], partition)
			}
		}
		mutex.Unlock()
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	settled := func(from int) error {
		for {
			mutex.Lock()
			all := 0
			busy := true
			for member := from; member < members; member++ {
				all += len(owned[member])
				busy = busy && len(owned[member]) > 0
			}
			mutex.Unlock()
			if all == partitions && busy {
				return nil
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return errors.New("the group never came to rest")
			}
		}
	}
	clients := make([]*kgo.Client, members)
	begun := time.Now()
	for member := range members {
		owned[member] = map[int32]bool{}
		client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
			kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(500*time.Millisecond), kgo.DisableAutoCommit(),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, has map[string][]int32) { tell(member, has, true) }),
			kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, has map[string][]int32) { tell(member, has, false) }),
			kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, has map[string][]int32) { tell(member, has, false) }))
		if err != nil {
			return err
		}
		clients[member] = client
		go func() {
			for {
				if client.PollFetches(ctx).IsClientClosed() || ctx.Err() != nil {
					return
				}
			}
		}()
	}
	if err := settled(0); err != nil {
		return err
	}
	joined := time.Since(begun)
	left := time.Now()
	clients[0].LeaveGroup()
	if err := settled(1); err != nil {
		return err
	}
	again := time.Since(left)
	for _, client := range clients {
		go client.Close()
	}
	return measured{Records: int64(members), Seconds: joined.Seconds(), P50Ms: ms(joined), P99Ms: ms(again)}.print()
}

func ms(took time.Duration) float64 { return float64(took) / float64(time.Millisecond) }

// through writes records at a rate and reads them with a group that commits every 100 ms: the time from a send to its record.
func through(ctx context.Context, address, topic string, partitions, perSecond, seconds int) error {
	writer, err := producer(address, topic, kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer writer.Close()
	group := fmt.Sprintf("through-%d", time.Now().UnixNano())
	reader, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.AutoCommitInterval(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer reader.Close()
	begun := time.Now()
	total := perSecond * seconds
	warm := make(chan struct{})
	go func() {
		value := func() []byte {
			return binary.BigEndian.AppendUint64(make([]byte, 0, 1000), uint64(time.Since(begun)))[:1000]
		}
		send := func(number int) {
			writer.Produce(ctx, &kgo.Record{Partition: int32(number % partitions), Value: value()}, nil)
		}
		for number := 0; ; number++ { // until the group reads
			select {
			case <-warm:
				start := time.Now()
				for number := range total {
					time.Sleep(time.Until(start.Add(time.Duration(number) * time.Second / time.Duration(perSecond))))
					send(number)
				}
				return
			case <-time.After(50 * time.Millisecond):
				send(number)
			}
		}
	}()
	took := make([]time.Duration, 0, total)
	seen := 0
	var started time.Duration
	for len(took) < total*9/10 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		now := time.Since(begun)
		fetches.EachRecord(func(record *kgo.Record) {
			sent := time.Duration(binary.BigEndian.Uint64(record.Value))
			if seen++; seen == 20 {
				close(warm)
				started = now
			}
			if started > 0 && sent > started+200*time.Millisecond {
				took = append(took, now-sent)
			}
		})
	}
	return said(took, (time.Since(begun) - started).Seconds())
}
