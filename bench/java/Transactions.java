import java.time.Duration;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Transactions of one producer, each begun when the one before is committed, and what they cost a reader.
 *
 *   Transactions rate    ADDRESS TOPIC PARTITIONS RECORDS BYTES WARMUP_MS MEASURE_MS
 *   Transactions reading ADDRESS TOPIC RECORDS BYTES PER_SECOND WARMUP_MS MEASURE_MS
 *
 * "rate" commits transactions of RECORDS records, round robin over the partitions, for a time, and says how many and
 * how long one took. "reading" commits PER_SECOND transactions a second and reads the topic's partition 0 with
 * read_committed and with read_uncommitted at once: how long a record takes from its send to each reader. Each says
 * "measuring" when its clock starts and prints a last line of JSON.
 */
public final class Transactions {
    public static void main(String[] args) throws Exception {
        int[] numbers = Arrays.stream(args, 3, args.length).mapToInt(Integer::parseInt).toArray();
        switch (args[0]) {
            case "rate" -> rate(args[1], args[2], numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
            case "reading" -> reading(args[1], args[2], numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void rate(
            String address, String topic, int partitions, int records, int bytes, int warmupMs, int measureMs) {
        byte[] value = new byte[bytes];
        try (KafkaProducer<byte[], byte[]> producer = producer(address)) {
            Samples took = new Samples();
            long start = System.nanoTime();
            long begun = 0;
            long now = start;
            long sent = 0;
            while (begun == 0 || now - begun < measureMs * 1_000_000L) {
                if (begun == 0 && now - start >= warmupMs * 1_000_000L) {
                    begun = now;
                    System.out.println("measuring");
                }
                producer.beginTransaction();
                for (int i = 0; i < records; i++) {
                    producer.send(new ProducerRecord<>(topic, (int) (sent++ % partitions), null, value));
                }
                producer.commitTransaction();
                long ended = System.nanoTime();
                if (begun != 0) took.add(ended - now);
                now = ended;
            }
            double seconds = (now - begun) / 1e9;
            System.out.println(String.format(Locale.ROOT,
                "{\"records\":%d,\"seconds\":%.3f,\"mbPerSecond\":%.3f,\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"batchKb\":0}",
                took.count(), seconds, took.count() * (double) records * bytes / seconds / 1e6, took.ms(0.5), took.ms(0.99)));
        }
    }

    private static void reading(
            String address, String topic, int records, int bytes, int perSecond, int warmupMs, int measureMs)
            throws InterruptedException {
        AtomicBoolean ended = new AtomicBoolean();
        CountDownLatch reading = new CountDownLatch(2);
        List<Reader> readers = new ArrayList<>();
        for (String isolation : List.of("read_committed", "read_uncommitted")) {
            readers.add(new Reader(address, topic, isolation, reading, ended));
        }
        for (Reader reader : readers) reader.start();
        reading.await();
        try (KafkaProducer<byte[], byte[]> producer = producer(address)) {
            long start = System.nanoTime();
            long pause = 1_000_000_000L / perSecond;
            boolean measuring = false;
            for (long due = start; due - start < (warmupMs + measureMs) * 1_000_000L; due += pause) {
                if (!measuring && due - start >= warmupMs * 1_000_000L) {
                    measuring = true;
                    System.out.println("measuring");
                    for (Reader reader : readers) reader.fromNanos = due;
                }
                while (System.nanoTime() < due) LockSupport.parkNanos(due - System.nanoTime());
                producer.beginTransaction();
                for (int i = 0; i < records; i++) {
                    byte[] value = ByteBuffer.allocate(bytes).putLong(System.nanoTime()).array();
                    producer.send(new ProducerRecord<>(topic, 0, null, value));
                }
                producer.commitTransaction();
            }
        }
        Thread.sleep(500);
        ended.set(true);
        for (Reader reader : readers) reader.join();
        Samples committed = readers.get(0).took;
        Samples uncommitted = readers.get(1).took;
        System.out.println(String.format(Locale.ROOT,
            "{\"records\":%d,\"seconds\":%.3f,\"committedP50Ms\":%.3f,\"committedP99Ms\":%.3f,"
                + "\"uncommittedP50Ms\":%.3f,\"uncommittedP99Ms\":%.3f}",
            committed.count(), measureMs / 1e3, committed.ms(0.5), committed.ms(0.99), uncommitted.ms(0.5), uncommitted.ms(0.99)));
    }

    /** Notes of each record how long it took from its send. */
    private static final class Reader extends Thread {
        final Samples took = new Samples();
        volatile long fromNanos = Long.MAX_VALUE;
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final CountDownLatch reading;
        private final AtomicBoolean ended;

        Reader(String address, String topic, String isolation, CountDownLatch reading, AtomicBoolean ended) {
            Properties config = new Properties();
            config.put("bootstrap.servers", address);
            config.put("enable.auto.commit", "false");
            config.put("isolation.level", isolation);
            consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToEnd(List.of(partition));
            consumer.position(partition);
            this.reading = reading;
            this.ended = ended;
        }

        @Override
        public void run() {
            reading.countDown();
            while (!ended.get()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    long sent = ByteBuffer.wrap(record.value()).getLong();
                    if (sent >= fromNanos) took.add(System.nanoTime() - sent);
                }
            }
            consumer.close();
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(String address) {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("transactional.id", "bench");
        KafkaProducer<byte[], byte[]> producer =
            new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        producer.initTransactions();
        return producer;
    }

    /** Durations in nanoseconds. */
    private static final class Samples {
        private long[] taken = new long[1024];
        private int count;

        void add(long nanos) {
            if (count == taken.length) taken = Arrays.copyOf(taken, 2 * count);
            taken[count++] = nanos;
        }

        int count() {
            return count;
        }

        double ms(double share) {
            if (count == 0) return 0;
            long[] sorted = Arrays.copyOf(taken, count);
            Arrays.sort(sorted);
            return sorted[(int) (share * (count - 1))] / 1e6;
        }
    }

    private Transactions() {
    }
}
