import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What goes into a framework and what came out of it, by Kafka's own client.
 *
 *   write ADDRESS TOPIC               each line of standard input, KEY tab VALUE, as one record; prints
 *                                     "acknowledged N" when all are
 *   read ADDRESS TOPIC WAIT_MS [START]  everything that is committed, one line per record: partition, offset,
 *                                     timestamp, key, value, with tabs between; then "end PARTITION OFFSET" of
 *                                     each; nothing when there is no such topic. Fails when it cannot come to the ends that an uncommitted reader
 *                                     sees: a transaction hangs, or a reader does. START, as P:OFFSET,P:OFFSET,
 *                                     is where to begin instead of the beginning.
 *   commit ADDRESS GROUP TOPIC OFFSET…  for partition 0, 1, …, as a client that assigns partitions by itself
 *   committed ADDRESS GROUP TOPIC     prints "committed PARTITION OFFSET" for each, and nothing else
 */
public final class Records {
    private static final PrintStream OUT =
        new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, StandardCharsets.UTF_8);

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "write" -> write(args[1], args[2]);
            case "read" -> read(args[1], args[2], Long.parseLong(args[3]), args.length > 4 ? args[4] : "");
            case "commit" -> commit(args[1], args[2], args[3], List.of(args).subList(4, args.length));
            case "committed" -> committed(args[1], args[2], args[3]);
            default -> throw new IllegalArgumentException("no such command: " + args[0]);
        }
        OUT.flush();
    }

    private static void write(String address, String topic) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("linger.ms", "20");
        config.put("reconnect.backoff.max.ms", "500");
        config.put("delivery.timeout.ms", "600000");
        config.put("max.block.ms", "600000");
        AtomicReference<Exception> failure = new AtomicReference<>();
        long count = 0;
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null && failure.get() == null; line = lines.readLine()) {
                int tab = line.indexOf('\t');
                producer.send(new ProducerRecord<>(topic, line.substring(0, tab), line.substring(tab + 1)),
                    (metadata, error) -> {
                        if (error != null) failure.compareAndSet(null, error);
                    });
                count++;
            }
            producer.flush();
        }
        if (failure.get() != null) throw failure.get();
        OUT.println("acknowledged " + count);
    }

    private static void read(String address, String topic, long waitMs, String starts) {
        long deadline = System.currentTimeMillis() + waitMs;
        Map<TopicPartition, Long> ends;
        try (KafkaConsumer<String, String> all = consumer(address, "read_uncommitted", null)) {
            ends = all.endOffsets(partitionsOf(all, topic));
        }
        try (KafkaConsumer<String, String> consumer = consumer(address, "read_committed", null)) {
            consumer.assign(ends.keySet());
            consumer.seekToBeginning(ends.keySet());
            for (String start : starts.isEmpty() ? new String[0] : starts.split(",")) {
                String[] parts = start.split(":");
                consumer.seek(new TopicPartition(topic, Integer.parseInt(parts[0])), Long.parseLong(parts[1]));
            }
            Set<TopicPartition> open = new HashSet<>(ends.keySet());
            while (true) {
                open.removeIf(partition -> consumer.position(partition) >= ends.get(partition));
                if (open.isEmpty()) break;
                if (System.currentTimeMillis() > deadline) throw new IllegalStateException(stuck(consumer, open, ends));
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    if (record.offset() < ends.get(new TopicPartition(topic, record.partition()))) print(record);
                }
            }
        }
        ends.forEach((partition, end) -> OUT.println("end " + partition.partition() + " " + end));
    }

    private static void print(ConsumerRecord<String, String> record) {
        OUT.println(record.partition() + "\t" + record.offset() + "\t" + record.timestamp() + "\t" + record.key() + "\t" + record.value());
    }

    private static String stuck(KafkaConsumer<?, ?> consumer, Set<TopicPartition> open, Map<TopicPartition, Long> ends) {
        StringBuilder text = new StringBuilder("what is committed does not reach the end:");
        for (TopicPartition partition : open) {
            text.append(' ').append(partition).append(" at ").append(consumer.position(partition)).append(" of ").append(ends.get(partition));
        }
        return text.toString();
    }

    private static void commit(String address, String group, String topic, List<String> offsets) {
        try (KafkaConsumer<String, String> consumer = consumer(address, "read_committed", group)) {
            for (int partition = 0; partition < offsets.size(); partition++) {
                TopicPartition each = new TopicPartition(topic, partition);
                consumer.assign(List.of(each));
                consumer.commitSync(Map.of(each, new org.apache.kafka.clients.consumer.OffsetAndMetadata(
                    Long.parseLong(offsets.get(partition)))));
            }
        }
    }

    private static void committed(String address, String group, String topic) {
        try (KafkaConsumer<String, String> consumer = consumer(address, "read_committed", group)) {
            consumer.committed(new HashSet<>(partitionsOf(consumer, topic))).forEach((partition, offset) -> {
                if (offset != null) OUT.println("committed " + partition.partition() + " " + offset.offset());
            });
        }
    }

    private static List<TopicPartition> partitionsOf(KafkaConsumer<?, ?> consumer, String topic) {
        List<TopicPartition> partitions = new ArrayList<>();
        List<PartitionInfo> known = consumer.partitionsFor(topic);
        if (known == null) return partitions;
        for (PartitionInfo info : known) partitions.add(new TopicPartition(topic, info.partition()));
        return partitions;
    }

    private static KafkaConsumer<String, String> consumer(String address, String isolation, String group) {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("isolation.level", isolation);
        config.put("enable.auto.commit", "false");
        config.put("allow.auto.create.topics", "false");
        if (group != null) config.put("group.id", group);
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private Records() {
    }
}
