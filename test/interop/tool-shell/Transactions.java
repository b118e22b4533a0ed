import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringSerializer;

/** Producers with transactional ids, whose transactions stay open until they are told to end. */
final class Transactions {
    private final Map<String, KafkaProducer<String, String>> producers = new HashMap<>();

    /** The older one of this id, if there is one, is forgotten as if its process had been killed. */
    void open(String address, String id, String timeoutMs) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", address);
        settings.put("transactional.id", id);
        settings.put("transaction.timeout.ms", timeoutMs);
        settings.put("max.block.ms", "30000");
        KafkaProducer<String, String> producer =
            new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        KafkaProducer<String, String> older = producers.put(id, producer);
        producer.initTransactions();
        if (older != null) older.close(Duration.ZERO);
    }

    void begin(String id) {
        producers.get(id).beginTransaction();
    }

    void send(String id, String topic, int partition, int count) throws Exception {
        KafkaProducer<String, String> producer = producers.get(id);
        List<Future<?>> sent = new ArrayList<>();
        for (int index = 0; index < count; index++) {
            sent.add(producer.send(new ProducerRecord<>(topic, partition, "key " + index, id + " " + index)));
        }
        producer.flush();
        for (Future<?> each : sent) each.get();
    }

    void commit(String id, String group, TopicPartition partition, long offset) {
        producers.get(id).sendOffsetsToTransaction(
            Map.of(partition, new OffsetAndMetadata(offset)), new ConsumerGroupMetadata(group));
    }

    String end(String id, boolean commits) {
        KafkaProducer<String, String> producer = producers.get(id);
        try {
            if (commits) producer.commitTransaction();
            else producer.abortTransaction();
            return "ended";
        } catch (KafkaException error) {
            return error.getClass().getSimpleName();
        }
    }

    void close() {
        for (KafkaProducer<String, String> producer : producers.values()) producer.close(Duration.ZERO);
    }
}
