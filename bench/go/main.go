// The load of the benches with franz-go.
//
//	program create  ADDRESS TOPIC PARTITIONS [KEY=VALUE]
//	program delete  ADDRESS TOPIC
//	program fill    ADDRESS TOPIC PARTITIONS RECORDS BYTES
//	program produce ADDRESS TOPIC PARTITIONS BYTES WARMUP_MS MEASURE_MS PER_SECOND
//	program paced   ADDRESS TOPIC PARTITIONS RECORDS BYTES PER_SECOND
//	program even    ADDRESS TOPIC PARTITIONS RECORDS BYTES PER_BATCH
//	program consume ADDRESS TOPIC PARTITIONS RECORDS BYTES
//	program connect ADDRESS COUNT
//	program echo    ADDRESS
//	program commits ADDRESS TOPIC GROUPS EVERY_MS SECONDS
//	program idle    ADDRESS TOPIC GROUPS
//	program rebalance ADDRESS TOPIC PARTITIONS MEMBERS
//	program through ADDRESS TOPIC PARTITIONS PER_SECOND SECONDS
//	program transactions ADDRESS TOPIC PARTITIONS RECORDS BYTES WARMUP_MS MEASURE_MS
//
// "fill" writes round robin over all partitions until every record is acknowledged, "produce" for a time
// (at a rate or, with 0, as fast as it can), "paced" at a rate and without lingering, "even" in batches of a
// given number of records; "consume" reads all partitions by assignment; "connect" keeps connections open that
// do nothing; "echo" is a broker that stores nothing. Of groups, see groups.go: "commits" commits offsets, "idle" makes
// groups that do nothing, "rebalance" lets members join and one leave, "through" writes and reads with a group.
// "transactions" commits transactions of so many records. Those that measure print a last line of JSON, see measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// measured is what one run gives: 10^6 bytes of payload per second, the time from a record's send to its
// acknowledgement, and 10^3 bytes of a batch on the wire.
type measured struct {
	Records     int64   `json:"records"`
	Seconds     float64 `json:"seconds"`
	MbPerSecond float64 `json:"mbPerSecond"`
	P50Ms       float64 `json:"p50Ms"`
	P99Ms       float64 `json:"p99Ms"`
	BatchKb     float64 `json:"batchKb"`
}

// limit bounds a run that hangs; the sustained load lasts longer than the others.
const limit = 15 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	unknown := fmt.Errorf("cannot read the arguments %q", args)
	if len(args) < 2 {
		return unknown
	}
	command, address, topic := args[0], args[1], ""
	rest := args[2:]
	if command != "connect" && len(rest) > 0 {
		topic, rest = rest[0], rest[1:]
	}
	config := map[string]*string{}
	numbers := []int{}
	for _, arg := range rest {
		if key, value, isPair := strings.Cut(arg, "="); isPair {
			config[key] = &value
			continue
		}
		number, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		numbers = append(numbers, number)
	}
	at := func(index int) int { return numbers[index] }
	wanted := map[string]int{"create": 1, "delete": 0, "fill": 3, "produce": 5, "paced": 4, "even": 4, "consume": 3, "connect": 1, "echo": 0, "commits": 3, "idle": 1, "rebalance": 2, "through": 3, "transactions": 5}
	if count, known := wanted[command]; !known || count != len(numbers) {
		return unknown
	}
	switch command {
	case "create":
		return create(ctx, address, topic, at(0), config)
	case "delete":
		return remove(ctx, address, topic)
	case "fill":
		return fill(ctx, address, topic, at(0), at(1), at(2))
	case "produce":
		return produce(ctx, address, topic, at(0), at(1), at(2), at(3), at(4))
	case "paced":
		return paced(ctx, address, topic, at(0), at(1), at(2), at(3))
	case "even":
		return even(ctx, address, topic, at(0), at(1), at(2), at(3))
	case "consume":
		return consume(ctx, address, topic, at(0), at(1), at(2))
	case "commits":
		return commits(ctx, address, topic, at(0), at(1), at(2))
	case "idle":
		return idle(ctx, address, topic, at(0))
	case "rebalance":
		return rebalance(ctx, address, topic, at(0), at(1))
	case "through":
		return through(ctx, address, topic, at(0), at(1), at(2))
	case "transactions":
		return transactions(ctx, address, topic, at(0), at(1), at(2), at(3), at(4))
	case "connect":
		return connect(address, at(0))
	default:
		return echo(address)
	}
}

func create(ctx context.Context, address, topic string, partitions int, config map[string]*string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, int32(partitions), 1, config, topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
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
	return measuredOf(int64(read), size, time.Since(begun)).print()
}

func measuredOf(records int64, size int, took time.Duration) measured {
	seconds := took.Seconds()
	return measured{Records: records, Seconds: seconds, MbPerSecond: float64(records) * float64(size) / seconds / 1e6}
}

func (m measured) print() error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}
