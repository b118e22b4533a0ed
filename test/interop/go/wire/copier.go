package wire

import (
	"context"
	"fmt"
	"maps"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Copying is what a copier is told (see ../../copiers.ts), and what it tells.
type Copying struct {
	Address, Input, Output, Group, TransactionalID string
	// Protocol is classic, cooperative or consumer (KIP-848).
	Protocol                string
	Session, Timeout, Pause time.Duration
	// Lot is how many records a transaction has at most.
	Lot          int
	abortsEvery  int
	transactions int
}

func copying(run func(ctx context.Context, told *Copying) error, words map[string]string) error {
	number := func(name string) int {
		// What is no number is 0, which no copier can work with.
		value, _ := strconv.Atoi(words[name])
		return value
	}
	ms := func(name string) time.Duration { return time.Duration(number(name)) * time.Millisecond }
	told := &Copying{
		Address: words["address"], Input: words["input"], Output: words["output"], Group: words["group"],
		TransactionalID: words["transactional-id"], Protocol: words["protocol"],
		Session: ms("session-ms"), Timeout: ms("timeout-ms"), Pause: ms("pause-ms"),
		Lot: number("lot"), abortsEvery: number("aborts-every"),
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, told); err != nil {
		return err
	}
	fmt.Println("left")
	return nil
}

// Aborts answers whether the next transaction is aborted on purpose.
func (c *Copying) Aborts() bool {
	c.transactions++
	return c.transactions%c.abortsEvery == 0
}

// Committed tells of a transaction that is committed: its records, and where each partition goes on.
func (c *Copying) Committed(count int, ends map[int32]int64) {
	words := []string{"committed", strconv.Itoa(count)}
	for _, partition := range slices.Sorted(maps.Keys(ends)) {
		words = append(words, strconv.Itoa(int(partition)), strconv.FormatInt(ends[partition], 10))
	}
	fmt.Println(strings.Join(words, " "))
}

// Aborted tells of a transaction that was aborted on purpose.
func (c *Copying) Aborted(count int) {
	fmt.Println("aborted", count)
}

// Refused tells of a transaction that failed.
func (c *Copying) Refused(reason any) {
	fmt.Println("refused", strings.Join(strings.Fields(fmt.Sprint(reason)), " "))
}

// named reads arguments of the form NAME=VALUE.
func named(args []string) map[string]string {
	words := map[string]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		words[name] = value
	}
	return words
}
