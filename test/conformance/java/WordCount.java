import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * The word count of Kafka Streams: lines are split, words go through a repartition topic, are counted in a store
 * with a changelog, and each new count goes to the output. Nothing is cached, so that the output of an
 * application that processes exactly once is 1, 2, 3, … for each word.
 *
 *   WordCount ADDRESS APPLICATION GUARANTEE STATE_DIRECTORY INPUT OUTPUT INSTANCE
 *
 * INSTANCE is an id of a static member, or "-". Prints the states it goes through; ends on SIGTERM.
 */
public final class WordCount {
    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[2]);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        // Long enough that a kill finds something uncommitted.
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "500");
        config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        // A killed member is waited for so long; Kafka allows no less.
        config.put(StreamsConfig.mainConsumerPrefix("session.timeout.ms"), "6000");
        config.put("reconnect.backoff.max.ms", "500");
        if (!args[6].equals("-")) config.put(StreamsConfig.mainConsumerPrefix("group.instance.id"), args[6]);

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(args[4], Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.as("counts"))
            .toStream()
            .mapValues(String::valueOf)
            .to(args[5], Produced.with(Serdes.String(), Serdes.String()));

        KafkaStreams streams = new KafkaStreams(builder.build(config), config);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.out.println(now);
            if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) ended.countDown();
        });
        streams.setUncaughtExceptionHandler(error -> {
            // What a broker's death may cause; anything else comes again and again, and the test sees it.
            System.out.println("REPLACED " + String.valueOf(error).replaceAll("\\s+", " "));
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(30))));
        streams.start();
        ended.await();
    }

    private WordCount() {
    }
}
