package wire

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Membership is what a member of a group is told (see ../../members.ts), and what it tells: each line is out
// before what it is about goes on.
type Membership struct {
	Address, Topic, Group string
	// Protocol is classic, cooperative or consumer (KIP-848).
	Protocol     string
	CommitsAsync bool
	Session      time.Duration
	mutex        sync.Mutex
	out          *bufio.Writer
}

// Done is a record that was processed.
type Done struct {
	Partition int32
	Offset    int64
	Value     []byte
}

func member(run func(ctx context.Context, told *Membership) error, args []string) error {
	sessionMs, err := strconv.Atoi(args[5])
	if err != nil {
		return err
	}
	told := &Membership{
		Address: args[0], Topic: args[1], Group: args[2], Protocol: args[3],
		CommitsAsync: args[4] == "async",
		Session:      time.Duration(sessionMs) * time.Millisecond,
		out:          bufio.NewWriterSize(os.Stdout, 1<<16),
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, told); err != nil {
		return err
	}
	told.tell("left\n")
	return nil
}

// Owns tells all partitions that the member has in a generation.
func (m *Membership) Owns(generation int32, partitions []int32) {
	words := []string{"owns", strconv.Itoa(int(generation))}
	for _, partition := range slices.Sorted(slices.Values(partitions)) {
		words = append(words, strconv.Itoa(int(partition)))
	}
	m.tell(strings.Join(words, " ") + "\n")
}

// Did tells of processed records.
func (m *Membership) Did(records []Done) {
	var lines strings.Builder
	for _, record := range records {
		fmt.Fprintf(&lines, "did %d %d %s\n", record.Partition, record.Offset, record.Value)
	}
	m.tell(lines.String())
}

// Committed tells of a commit that the broker has answered.
func (m *Membership) Committed(partition int32, offset int64) {
	m.tell(fmt.Sprintf("committed %d %d\n", partition, offset))
}

// Refused tells of a commit that failed.
func (m *Membership) Refused(reason any) {
	m.tell(fmt.Sprintln("refused", strings.Join(strings.Fields(fmt.Sprint(reason)), " ")))
}

func (m *Membership) tell(lines string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	// Nobody reads any more when this fails, and then the process is killed.
	_, _ = m.out.WriteString(lines)
	_ = m.out.Flush()
}
