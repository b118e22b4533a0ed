import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads a number of records from all partitions of a topic by assignment (Kafka's ConsumerPerformance
 * subscribes, which needs consumer groups) and prints one line of JSON.
 *
 *   AssignReader ADDRESS TOPIC PARTITIONS RECORDS BYTES
 */
public final class AssignReader {
    public static void main(String[] args) {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "none");
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(args[2]); i++) partitions.add(new TopicPartition(args[1], i));
        long records = Long.parseLong(args[3]);
        long read = 0;
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            for (TopicPartition partition : partitions) consumer.seek(partition, 0);
            long begun = System.nanoTime();
            while (read < records) read += consumer.poll(Duration.ofMillis(500)).count();
            double seconds = (System.nanoTime() - begun) / 1e9;
            double mbPerSecond = read * Double.parseDouble(args[4]) / seconds / 1e6;
            System.out.println(String.format(Locale.ROOT,
                "{\"records\":%d,\"seconds\":%.3f,\"mbPerSecond\":%.3f,\"p50Ms\":0,\"p99Ms\":0}", read, seconds, mbPerSecond));
        }
    }

    private AssignReader() {
    }
}
