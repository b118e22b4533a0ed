import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.errors.InvalidRecordStateException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a share group: see ../share-members.ts for its arguments and what it prints. Each line is out before
 * what it is about goes on. Ends on SIGTERM.
 */
public final class ShareMember {
    private static final PrintStream OUT =
        new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false);
    /** What was last said of a record, until the broker has answered. */
    private static final Map<String, AcknowledgeType> SAID = new ConcurrentHashMap<>();
    /** Of so many records one is released when it comes for the first time. */
    private static final int RELEASED_EVERY = 23;

    static void run(String[] args) throws Exception {
        run(args[0], args[1], args[2], args[3].equals("explicit"));
    }

    private static void run(String address, String topic, String group, boolean isExplicit) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("group.id", group);
        config.put("share.acknowledgement.mode", isExplicit ? "explicit" : "implicit");
        config.put("max.poll.records", "100");
        config.put("reconnect.backoff.max.ms", "500");
        KafkaShareConsumer<byte[], byte[]> consumer =
            new KafkaShareConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                ended.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        consumer.setAcknowledgementCommitCallback(ShareMember::answered);
        try {
            consumer.subscribe(java.util.List.of(topic));
            while (true) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<byte[], byte[]> record : records) take(consumer, record, isExplicit);
                OUT.flush();
                // By turns: at once, or along with the next poll.
                if (isExplicit && records.count() % 2 == 0) consumer.commitAsync();
            }
        } catch (WakeupException asked) {
            // What was taken and not acknowledged is given to another member.
            consumer.close();
            OUT.println("left");
            OUT.flush();
        } finally {
            ended.countDown();
        }
    }

    private static void take(
            KafkaShareConsumer<byte[], byte[]> consumer, ConsumerRecord<byte[], byte[]> record, boolean isExplicit) {
        int deliveries = deliveriesOf(record);
        OUT.println("got " + System.currentTimeMillis() + " " + record.partition() + " " + record.offset() + " "
            + deliveries + " " + new String(record.value(), StandardCharsets.UTF_8));
        String place = record.partition() + " " + record.offset();
        if (new String(record.value(), StandardCharsets.UTF_8).endsWith("!deadly")) {
            OUT.println("dies " + place);
            OUT.flush();
            Runtime.getRuntime().halt(1);
        }
        AcknowledgeType type = wordFor(record, deliveries, isExplicit);
        SAID.put(place, type);
        if (type == AcknowledgeType.ACCEPT) OUT.println("accepts " + place);
        if (isExplicit) consumer.acknowledge(record, type);
    }

    private static AcknowledgeType wordFor(
            ConsumerRecord<byte[], byte[]> record, int deliveries, boolean isExplicit) {
        if (!isExplicit) return AcknowledgeType.ACCEPT;
        if (new String(record.value(), StandardCharsets.UTF_8).endsWith("!rejected")) return AcknowledgeType.REJECT;
        boolean isReleased = deliveries == 1 && record.offset() % RELEASED_EVERY == 0;
        return isReleased ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT;
    }

    /** By its name: these sources are compiled against 3.9.1, too, whose records do not have it. −1: it is not told. */
    private static int deliveriesOf(ConsumerRecord<byte[], byte[]> record) {
        try {
            Optional<?> count = (Optional<?>) ConsumerRecord.class.getMethod("deliveryCount").invoke(record);
            return count.isPresent() ? (Short) count.get() : -1;
        } catch (ReflectiveOperationException missing) {
            return -1;
        }
    }

    private static void answered(Map<TopicIdPartition, Set<Long>> offsets, Exception refusal) {
        long now = System.currentTimeMillis();
        offsets.forEach((partition, all) -> {
            for (long offset : all) {
                String place = partition.partition() + " " + offset;
                AcknowledgeType type = SAID.remove(place);
                if (refusal == null) {
                    OUT.println(answeredAs(type) + " " + now + " " + place);
                } else {
                    String why = refusal instanceof InvalidRecordStateException ? "state" : "unknown";
                    OUT.println("refused " + now + " " + place + " " + why);
                }
            }
        });
        if (refusal != null) OUT.println("why " + refusal.toString().replaceAll("\\s+", " "));
        OUT.flush();
    }

    private static String answeredAs(AcknowledgeType type) {
        if (type == AcknowledgeType.RELEASE) return "released";
        return type == AcknowledgeType.REJECT ? "rejected" : "accepted";
    }

    private ShareMember() {
    }
}
