import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.StaleMemberEpochException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a consumer group: see ../members.ts for its arguments and what it prints. Each line is out before
 * what it is about goes on. Ends on SIGTERM.
 */
public final class Member {
    private static final PrintStream OUT =
        new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false);

    static void run(String[] args) throws Exception {
        run(args[0], args[1], args[2], args[3], args[4].equals("async"), Integer.parseInt(args[5]));
    }

    private static void run(
            String address, String topic, String group, String protocol, boolean commitsAsync, int sessionMs)
            throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("group.id", group);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("max.poll.records", "100");
        config.put("reconnect.backoff.max.ms", "500");
        if (protocol.equals("consumer")) {
            config.put("group.protocol", "consumer");
        } else {
            config.put("session.timeout.ms", String.valueOf(sessionMs));
            config.put("heartbeat.interval.ms", String.valueOf(sessionMs / 5));
            config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer."
                + (protocol.equals("cooperative") ? "CooperativeStickyAssignor" : "RangeAssignor"));
        }
        KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                ended.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        try {
            consumer.subscribe(java.util.List.of(topic), new Assignments(consumer));
            while (true) {
                ConsumerRecords<byte[], byte[]> records;
                try {
                    records = consumer.poll(Duration.ofMillis(200));
                } catch (UnknownMemberIdException | StaleMemberEpochException out) {
                    // It slept for longer than its session, and asked where to go on before it heard of that:
                    // with KIP-848 the client tells so here, and joins again by itself.
                    continue;
                }
                if (!records.isEmpty()) handle(consumer, records, commitsAsync);
            }
        } catch (WakeupException asked) {
            // What was handled and not yet committed is handled again by another member.
            consumer.close();
            OUT.println("left");
            OUT.flush();
        } finally {
            ended.countDown();
        }
    }

    private static void handle(
            KafkaConsumer<byte[], byte[]> consumer, ConsumerRecords<byte[], byte[]> records, boolean commitsAsync) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            OUT.println("did " + record.partition() + " " + record.offset() + " "
                + new String(record.value(), StandardCharsets.UTF_8));
            offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        OUT.flush();
        if (commitsAsync) {
            consumer.commitAsync(offsets, Member::answered);
            return;
        }
        try {
            consumer.commitSync(offsets);
            answered(offsets, null);
        } catch (WakeupException asked) {
            throw asked;
        } catch (KafkaException refusal) {
            answered(offsets, refusal);
        }
    }

    private static void answered(Map<TopicPartition, OffsetAndMetadata> offsets, Exception refusal) {
        if (refusal != null) {
            OUT.println("refused " + refusal.toString().replaceAll("\\s+", " "));
        } else {
            offsets.forEach((partition, offset) ->
                OUT.println("committed " + partition.partition() + " " + offset.offset()));
        }
        OUT.flush();
    }

    /** Tells what the member owns. */
    private record Assignments(KafkaConsumer<byte[], byte[]> consumer) implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> added) {
            TreeSet<Integer> owned = new TreeSet<>();
            // Those that are being added are in it already for some protocols and not for others.
            for (TopicPartition partition : consumer.assignment()) owned.add(partition.partition());
            for (TopicPartition partition : added) owned.add(partition.partition());
            StringBuilder line = new StringBuilder("owns ").append(consumer.groupMetadata().generationId());
            for (int partition : owned) line.append(' ').append(partition);
            OUT.println(line);
            OUT.flush();
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
            // All that was handled is committed, or on its way.
        }
    }

    private Member() {
    }
}
