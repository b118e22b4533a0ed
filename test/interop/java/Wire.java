import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes a data set (see data-set.ts for the file) with the Java producer, or reads a topic back with the
 * Java consumer and prints one digest per partition.
 *
 *   Wire produce ADDRESS TOPIC FILE PARTITIONS
 *   Wire consume ADDRESS TOPIC PARTITIONS
 *   Wire member ...    see Member
 *   Wire share ...     see ShareMember
 *   Wire copy ...      see Copier
 *   Wire follow ...    see Follower
 *
 * Prints "progress N" now and then, "acked N" after writing, "partition P COUNT SHA256" after reading.
 */
public final class Wire {
    private static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    private static final int PROGRESS_EVERY = 500;

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "produce" -> produce(args[1], args[2], args[3], Integer.parseInt(args[4]));
            case "consume" -> consume(args[1], args[2], Integer.parseInt(args[3]));
            case "member" -> Member.run(java.util.Arrays.copyOfRange(args, 1, args.length));
            case "share" -> ShareMember.run(java.util.Arrays.copyOfRange(args, 1, args.length));
            case "copy" -> Copier.run(named(args));
            case "follow" -> Follower.run(named(args));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** The arguments behind the first, each NAME=VALUE. */
    private static Map<String, String> named(String[] args) {
        Map<String, String> named = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            int at = args[i].indexOf('=');
            named.put(args[i].substring(0, at), args[i].substring(at + 1));
        }
        return named;
    }

    private static void produce(String address, String topic, String file, int partitionCount) throws Exception {
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (String codec : CODECS) producers.add(producer(address, codec));
        AtomicLong acked = new AtomicLong();
        AtomicReference<Exception> failure = new AtomicReference<>();
        // Of each partition, the offset that the next acknowledgement must carry: the topic was empty.
        long[] nextOffset = new long[partitionCount];
        int[] codecOf = new int[partitionCount];
        java.util.Arrays.fill(codecOf, -1);
        long sent = 0;
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(file), 1 << 20))) {
            while (failure.get() == null) {
                int partition;
                try {
                    partition = in.readInt();
                } catch (EOFException end) {
                    break;
                }
                int codec = in.readUnsignedByte();
                byte[] key = blob(in);
                byte[] value = blob(in);
                RecordHeaders headers = new RecordHeaders();
                int headerCount = in.readInt();
                for (int i = 0; i < headerCount; i++) {
                    headers.add(new String(blob(in), StandardCharsets.UTF_8), blob(in));
                }
                if (codecOf[partition] != codec && codecOf[partition] != -1) {
                    for (KafkaProducer<byte[], byte[]> producer : producers) producer.flush();
                    java.util.Arrays.fill(codecOf, -1);
                }
                codecOf[partition] = codec;
                producers.get(codec).send(new ProducerRecord<>(topic, partition, null, key, value, headers), (metadata, error) -> {
                    if (error != null) {
                        failure.compareAndSet(null, error);
                        return;
                    }
                    synchronized (nextOffset) {
                        long expected = nextOffset[metadata.partition()]++;
                        if (metadata.offset() != expected) {
                            failure.compareAndSet(null, new IllegalStateException("partition " + metadata.partition()
                                + ": acknowledged at " + metadata.offset() + " where " + expected + " was due"));
                        }
                    }
                    long count = acked.incrementAndGet();
                    if (count % PROGRESS_EVERY == 0) System.out.println("progress " + count);
                });
                sent++;
            }
        }
        for (KafkaProducer<byte[], byte[]> producer : producers) producer.close();
        if (failure.get() != null) throw failure.get();
        if (acked.get() != sent) throw new IllegalStateException(sent + " sent, " + acked.get() + " acknowledged");
        System.out.println("acked " + acked.get());
    }

    private static KafkaProducer<byte[], byte[]> producer(String address, String codec) {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("acks", "all");
        config.put("enable.idempotence", "true");
        config.put("compression.type", codec);
        config.put("linger.ms", "5");
        config.put("batch.size", "65536");
        config.put("max.block.ms", "120000");
        config.put("delivery.timeout.ms", "300000");
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static void consume(String address, String topic, int partitionCount) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "none");
        MessageDigest[] digests = new MessageDigest[partitionCount];
        long[] counts = new long[partitionCount];
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < partitionCount; i++) {
            partitions.add(new TopicPartition(topic, i));
            digests[i] = MessageDigest.getInstance("SHA-256");
        }
        long read = 0;
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            for (TopicPartition partition : partitions) consumer.seek(partition, 0);
            long total = ends.values().stream().mapToLong(Long::longValue).sum();
            while (read < total) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    int partition = record.partition();
                    if (record.offset() != counts[partition]) {
                        throw new IllegalStateException("partition " + partition + ": offset " + record.offset()
                            + " where " + counts[partition] + " was due");
                    }
                    counts[partition]++;
                    add(digests[partition], record);
                    if (++read % PROGRESS_EVERY == 0) System.out.println("progress " + read);
                }
            }
        }
        for (int i = 0; i < partitionCount; i++) {
            System.out.println("partition " + i + " " + counts[i] + " " + HexFormat.of().formatHex(digests[i].digest()));
        }
    }

    private static void add(MessageDigest digest, ConsumerRecord<byte[], byte[]> record) {
        blob(digest, record.key());
        blob(digest, record.value());
        Header[] headers = record.headers().toArray();
        digest.update(ByteBuffer.allocate(4).putInt(headers.length).array());
        for (Header header : headers) {
            blob(digest, header.key().getBytes(StandardCharsets.UTF_8));
            blob(digest, header.value());
        }
    }

    private static void blob(MessageDigest digest, byte[] bytes) {
        digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.length).array());
        if (bytes != null) digest.update(bytes);
    }

    private static byte[] blob(DataInputStream in) throws IOException {
        int length = in.readInt();
        return length < 0 ? null : in.readNBytes(length);
    }

    private Wire() {
    }
}
