package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// echo answers what a producer asks, as one broker with any topic of one partition, and keeps nothing: what
// a latency costs in the client, the loopback and the scheduler. Nothing here is a measure of a broker.
func echo(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("Ready")
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			if err := serve(connection, address); err != nil && err != io.EOF {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func serve(connection net.Conn, address string) error {
	reader := bufio.NewReaderSize(connection, 1<<16)
	var size [4]byte
	for {
		if _, err := io.ReadFull(reader, size[:]); err != nil {
			return io.EOF
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(reader, frame); err != nil {
			return err
		}
		response, err := answer(frame, address)
		if err != nil {
			return err
		}
		if _, err := connection.Write(response); err != nil {
			return err
		}
	}
}

// answer reads a request's header (key, version, correlation, client id, and tags in flexible versions).
func answer(frame []byte, address string) ([]byte, error) {
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	request := kmsg.RequestForKey(key)
	if request == nil {
		return nil, fmt.Errorf("no such request: %d", key)
	}
	request.SetVersion(version)
	body := 10
	if length := int16(binary.BigEndian.Uint16(frame[8:])); length > 0 {
		body += int(length)
	}
	if request.IsFlexible() {
		body++ // an empty list of tags
	}
	if err := request.ReadFrom(frame[body:]); err != nil {
		return nil, err
	}
	response := request.ResponseKind()
	response.SetVersion(version)
	if err := say(request, response, address); err != nil {
		return nil, err
	}
	out := append(make([]byte, 4, 256), frame[4:8]...)
	if response.IsFlexible() && key != int16(kmsg.ApiVersions) {
		out = append(out, 0)
	}
	out = response.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

func say(request kmsg.Request, response kmsg.Response, address string) error {
	switch r := response.(type) {
	case *kmsg.ApiVersionsResponse:
		for key, most := range map[kmsg.Key]int16{kmsg.ApiVersions: 3, kmsg.Metadata: 9, kmsg.InitProducerID: 4, kmsg.Produce: 9} {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(key), MaxVersion: most})
		}
	case *kmsg.MetadataResponse:
		host, portText, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		port, err := strconv.Atoi(portText)
		if err != nil {
			return err
		}
		r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: host, Port: int32(port)}}
		r.ControllerID = 1
		for _, topic := range request.(*kmsg.MetadataRequest).Topics {
			r.Topics = append(r.Topics, kmsg.MetadataResponseTopic{Topic: topic.Topic, Partitions: []kmsg.MetadataResponseTopicPartition{
				{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}},
			}})
		}
	case *kmsg.InitProducerIDResponse:
		r.ProducerID = 1
	case *kmsg.ProduceResponse:
		for _, topic := range request.(*kmsg.ProduceRequest).Topics {
			said := kmsg.ProduceResponseTopic{Topic: topic.Topic}
			for _, partition := range topic.Partitions {
				said.Partitions = append(said.Partitions, kmsg.ProduceResponseTopicPartition{
					Partition: partition.Partition, LogAppendTime: -1,
				})
			}
			r.Topics = append(r.Topics, said)
		}
	default:
		return fmt.Errorf("%T is not answered here", request)
	}
	return nil
}

// connect keeps connections open until it is ended; each has asked for the versions once, as a
// client does.
func connect(address string, count int) error {
	connections := make([]net.Conn, 0, count)
	request := kmsg.NewPtrApiVersionsRequest()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("idle")).AppendRequest(nil, request, 1)
	for range count {
		connection, err := net.DialTimeout("tcp", address, 10*time.Second)
		if err != nil {
			return err
		}
		connections = append(connections, connection)
		if _, err := connection.Write(frame); err != nil {
			return err
		}
		var size [4]byte
		if _, err := io.ReadFull(connection, size[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, connection, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
			return err
		}
	}
	fmt.Println("Ready")
	time.Sleep(limit)
	for _, connection := range connections {
		connection.Close()
	}
	return nil
}
