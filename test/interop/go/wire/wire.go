// Package wire is what the small Go programs share (see ../../clients.ts for their arguments and what they
// print): the records of a data set (see ../../data-set.ts for the file), the check that offsets are dense, and
// the digests.
package wire

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"sync"
)

const progressEvery = 500

// Program is one client: it writes the file into the topic, or reads the topic.
type Program struct {
	Produce func(address, topic, path string, acks *Acks) error
	Consume func(address, topic string, gathered *Gathered) error
	Tour    func(address, topic string) error
	// Member is in a group until the context ends, and leaves it then.
	Member func(ctx context.Context, told *Membership) error
	// Copy copies a topic in transactions until the context ends, and leaves the group then; nil if it cannot.
	Copy func(ctx context.Context, told *Copying) error
	// Follow reads what is committed until the process is killed; nil if it cannot.
	Follow func(address, topic string) error
}

// TourSetting and TourValue are what a tour gives its topic.
const (
	TourSetting = "retention.ms"
	TourValue   = "3600000"
)

// Main runs the program with the arguments of the process and ends the process.
func Main(program Program) {
	if err := run(program, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(program Program, args []string) error {
	switch {
	case len(args) == 5 && args[0] == "produce":
		partitions, err := strconv.Atoi(args[4])
		if err != nil {
			return err
		}
		acks := &Acks{nextOffset: make([]int64, partitions)}
		if err := program.Produce(args[1], args[2], args[3], acks); err != nil {
			return err
		}
		if err := acks.Failed(); err != nil {
			return err
		}
		fmt.Println("acked", acks.count)
		return nil
	case len(args) == 4 && args[0] == "consume":
		partitions, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		gathered := newGathered(partitions)
		if err := program.Consume(args[1], args[2], gathered); err != nil {
			return err
		}
		gathered.print()
		return nil
	case len(args) == 3 && args[0] == "tour":
		return program.Tour(args[1], args[2])
	case len(args) == 7 && args[0] == "member":
		return member(program.Member, args[1:])
	case len(args) > 1 && args[0] == "copy" && program.Copy != nil:
		return copying(program.Copy, named(args[1:]))
	case len(args) == 3 && args[0] == "follow" && program.Follow != nil:
		told := named(args[1:])
		return program.Follow(told["address"], told["topic"])
	}
	return fmt.Errorf("cannot read the arguments %q", args)
}

// Acks keeps what the acknowledgements said.
type Acks struct {
	mutex      sync.Mutex
	count      int64
	nextOffset []int64
	failure    error
}

// Add takes one acknowledgement; of each partition they come in the order of sending.
func (a *Acks) Add(partition int32, offset int64, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if err != nil {
		a.fail(err)
		return
	}
	// The topic was empty, so the offsets of each partition are dense from 0.
	expected := a.nextOffset[partition]
	a.nextOffset[partition]++
	if offset != expected {
		a.fail(fmt.Errorf("partition %d: acknowledged at %d where %d was due", partition, offset, expected))
		return
	}
	a.count++
	if a.count%progressEvery == 0 {
		fmt.Println("progress", a.count)
	}
}

func (a *Acks) fail(err error) {
	if a.failure == nil {
		a.failure = err
	}
}

// Failed answers the first failure.
func (a *Acks) Failed() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.failure
}

// Count answers how many records are acknowledged.
func (a *Acks) Count() int64 {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.count
}

// Header has a name that may come again.
type Header struct {
	Name  string
	Value []byte
}

// Record is one of the data set; nil is null, and empty is not nil.
type Record struct {
	Partition int32
	Codec     uint8
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Writer gives the records of a file to a client in the order of the file.
type Writer struct {
	// Send may return before the record is acknowledged.
	Send func(record Record)
	// Flush returns when all that was sent is acknowledged or failed.
	Flush func() error
}

// Write sends all records. The codec of a partition changes only after a flush, since each codec has a producer
// of its own.
func Write(path string, acks *Acks, writer Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	codecOf := map[int32]uint8{}
	var sent int64
	for acks.Failed() == nil {
		record, err := readRecord(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if before, known := codecOf[record.Partition]; known && before != record.Codec {
			if err := writer.Flush(); err != nil {
				return err
			}
			clear(codecOf)
		}
		codecOf[record.Partition] = record.Codec
		writer.Send(record)
		sent++
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	if err := acks.Failed(); err != nil {
		return err
	}
	if acks.Count() != sent {
		return fmt.Errorf("%d sent, %d acknowledged", sent, acks.Count())
	}
	return nil
}

func readRecord(in io.Reader) (Record, error) {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return Record{}, err
	}
	record := Record{Partition: int32(binary.BigEndian.Uint32(head[:4])), Codec: head[4]}
	var err error
	if record.Key, err = readBlob(in); err != nil {
		return record, err
	}
	if record.Value, err = readBlob(in); err != nil {
		return record, err
	}
	count, err := readInt32(in)
	if err != nil {
		return record, err
	}
	for range count {
		name, err := readBlob(in)
		if err != nil {
			return record, err
		}
		value, err := readBlob(in)
		if err != nil {
			return record, err
		}
		record.Headers = append(record.Headers, Header{Name: string(name), Value: value})
	}
	return record, nil
}

func readInt32(in io.Reader) (int32, error) {
	var bytes [4]byte
	if _, err := io.ReadFull(in, bytes[:]); err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(bytes[:])), nil
}

func readBlob(in io.Reader) ([]byte, error) {
	length, err := readInt32(in)
	if err != nil || length < 0 {
		return nil, err
	}
	bytes := make([]byte, length)
	_, err = io.ReadFull(in, bytes)
	return bytes, err
}

// Gathered is what was read so far.
type Gathered struct {
	// Partitions is how many the topic has.
	Partitions int
	mutex      sync.Mutex
	digests    []hash.Hash
	counts     []int64
	read       int64
}

func newGathered(partitions int) *Gathered {
	gathered := &Gathered{Partitions: partitions, counts: make([]int64, partitions)}
	for range partitions {
		gathered.digests = append(gathered.digests, sha256.New())
	}
	return gathered
}

// Add takes the next record of a partition and answers how many were read of all.
func (g *Gathered) Add(partition int32, offset int64, key, value []byte, headers []Header) (int64, error) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if offset != g.counts[partition] {
		return g.read, fmt.Errorf("partition %d: offset %d where %d was due", partition, offset, g.counts[partition])
	}
	g.counts[partition]++
	digest := g.digests[partition]
	addBlob(digest, key)
	addBlob(digest, value)
	addInt32(digest, int32(len(headers)))
	for _, header := range headers {
		addBlob(digest, []byte(header.Name))
		addBlob(digest, header.Value)
	}
	if g.read++; g.read%progressEvery == 0 {
		fmt.Println("progress", g.read)
	}
	return g.read, nil
}

func (g *Gathered) print() {
	for i, digest := range g.digests {
		fmt.Println("partition", i, g.counts[i], hex.EncodeToString(digest.Sum(nil)))
	}
}

func addBlob(digest hash.Hash, bytes []byte) {
	if bytes == nil {
		addInt32(digest, -1)
		return
	}
	addInt32(digest, int32(len(bytes)))
	digest.Write(bytes)
}

func addInt32(digest hash.Hash, value int32) {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], uint32(value))
	digest.Write(bytes[:])
}
