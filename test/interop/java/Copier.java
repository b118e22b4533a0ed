import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.StaleMemberEpochException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Copies a topic in transactions: see ../copiers.ts for its arguments and what it prints. Ends on SIGTERM. */
final class Copier {
    private final Map<String, String> told;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private KafkaProducer<byte[], byte[]> producer;
    private int transactions;

    static void run(Map<String, String> told) throws Exception {
        Copier copier = new Copier(told);
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            copier.consumer.wakeup();
            try {
                ended.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        try {
            copier.copy();
        } catch (WakeupException asked) {
            copier.consumer.close();
            if (copier.producer != null) copier.producer.close();
            System.out.println("left");
            System.out.flush();
        } finally {
            ended.countDown();
        }
    }

    private Copier(Map<String, String> told) {
        this.told = told;
        int sessionMs = Integer.parseInt(told.get("session-ms"));
        Properties config = new Properties();
        config.put("bootstrap.servers", told.get("address"));
        config.put("group.id", told.get("group"));
        config.put("isolation.level", "read_committed");
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("max.poll.records", told.get("lot"));
        config.put("reconnect.backoff.max.ms", "500");
        if (told.get("protocol").equals("consumer")) {
            config.put("group.protocol", "consumer");
        } else {
            config.put("session.timeout.ms", String.valueOf(sessionMs));
            config.put("heartbeat.interval.ms", String.valueOf(sessionMs / 5));
            config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer."
                + (told.get("protocol").equals("cooperative") ? "CooperativeStickyAssignor" : "RangeAssignor"));
        }
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void copy() throws InterruptedException {
        consumer.subscribe(List.of(told.get("input")));
        while (true) {
            ConsumerRecords<byte[], byte[]> records;
            try {
                records = consumer.poll(Duration.ofMillis(200));
            } catch (UnknownMemberIdException | StaleMemberEpochException out) {
                // It slept for longer than its session: with KIP-848 the client tells so here, and joins again.
                continue;
            }
            if (records.isEmpty()) continue;
            try {
                copy(records);
            } catch (WakeupException asked) {
                throw asked;
            } catch (RuntimeException refusal) {
                refused(refusal);
                abandon();
                goBack();
            }
        }
    }

    private void copy(ConsumerRecords<byte[], byte[]> records) throws InterruptedException {
        if (producer == null) producer = newProducer();
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            producer.send(new ProducerRecord<>(told.get("output"), record.partition(), record.key(), record.value()));
            ends.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        producer.flush();
        producer.sendOffsetsToTransaction(ends, consumer.groupMetadata());
        Thread.sleep(Integer.parseInt(told.get("pause-ms")));
        if (++transactions % Integer.parseInt(told.get("aborts-every")) == 0) {
            producer.abortTransaction();
            tell("aborted " + records.count());
            goBack();
            return;
        }
        producer.commitTransaction();
        StringBuilder line = new StringBuilder("committed ").append(records.count());
        ends.forEach((partition, end) -> line.append(' ').append(partition.partition()).append(' ').append(end.offset()));
        tell(line.toString());
    }

    private KafkaProducer<byte[], byte[]> newProducer() {
        Properties config = new Properties();
        config.put("bootstrap.servers", told.get("address"));
        config.put("transactional.id", told.get("transactional-id"));
        config.put("transaction.timeout.ms", told.get("timeout-ms"));
        config.put("linger.ms", "5");
        config.put("reconnect.backoff.max.ms", "500");
        // The client wants it to be shorter than the transaction.
        config.put("delivery.timeout.ms", told.get("timeout-ms"));
        config.put("request.timeout.ms", "3000");
        KafkaProducer<byte[], byte[]> made =
            new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        try {
            made.initTransactions();
        } catch (RuntimeException refusal) {
            made.close(Duration.ZERO);
            throw refusal;
        }
        return made;
    }

    /** After it no transaction of ours is open; where that cannot be said, another producer sees to it. */
    private void abandon() {
        if (producer != null) {
            try {
                producer.abortTransaction();
                return;
            } catch (RuntimeException fatal) {
                refused(fatal);
                producer.close(Duration.ZERO);
                producer = null;
            }
        }
        while (producer == null) {
            try {
                producer = newProducer();
            } catch (RuntimeException refusal) {
                refused(refusal);
            }
        }
    }

    /** To where the group has committed. */
    private void goBack() {
        Map<TopicPartition, OffsetAndMetadata> committed = null;
        while (committed == null) {
            try {
                committed = consumer.committed(consumer.assignment());
            } catch (WakeupException asked) {
                throw asked;
            } catch (RuntimeException refusal) {
                refused(refusal);
            }
        }
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata offset = committed.get(partition);
            consumer.seek(partition, offset == null ? 0 : offset.offset());
        }
    }

    private static void refused(RuntimeException refusal) {
        tell("refused " + refusal.toString().replaceAll("\\s+", " "));
    }

    private static void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
