import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads the committed records of a topic until it is killed: see ../followers.ts for what it prints. */
final class Follower {
    static void run(Map<String, String> told) {
        Properties config = new Properties();
        config.put("bootstrap.servers", told.get("address"));
        config.put("isolation.level", "read_committed");
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "none");
        config.put("reconnect.backoff.max.ms", "500");
        KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.assign(consumer.partitionsFor(told.get("topic")).stream()
            .map((PartitionInfo info) -> new TopicPartition(info.topic(), info.partition())).toList());
        for (TopicPartition partition : consumer.assignment()) consumer.seek(partition, 0);
        while (true) {
            StringBuilder lines = new StringBuilder();
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                lines.append("record ").append(record.partition()).append(' ').append(record.offset()).append(' ')
                    .append(new String(record.value(), StandardCharsets.UTF_8)).append('\n');
            }
            System.out.print(lines);
            System.out.flush();
        }
    }

    private Follower() {
    }
}
