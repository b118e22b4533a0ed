import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;

/**
 * Kafka's command line tools in one process, since starting a JVM costs more than the tool's work. It reads one
 * command per line, as a JSON array of strings, and answers each with one line of JSON. Beside the tools it has
 * members of groups that stay until they are told to leave.
 *
 *   tool CLASS ARGUMENT...            {"code", "out", "err"} as the tool's process would have ended
 *   produce TOPIC PARTITION TIME N    N records, one second apart from TIME on (ms since 1970)
 *   commit GROUP TOPIC PARTITION OFFSET METADATA   of a client that assigns partitions by itself
 *   join GROUP PROTOCOL CLIENT INSTANCE TOPIC COUNT   returns when CLIENT holds COUNT partitions; CLIENT is a name
 *                                     that no other member has; an empty INSTANCE is none
 *   hold CLIENT COUNT                 returns when CLIENT holds COUNT partitions
 *   settle CLIENT                     returns when CLIENT has read everything and committed it
 *   leave CLIENT                      closes it
 *   share-join GROUP CLIENT TOPIC     a member of a share group, which accepts what it is given
 *   share-read CLIENT N               returns when CLIENT has been given N records
 *   transactional ID TIME             a producer of this transactional id, with a time-out in ms, makes itself known
 *   begin ID                          its transaction
 *   send ID TOPIC PARTITION N         N records within it
 *   commit-within ID GROUP TOPIC PARTITION OFFSET
 *   end ID commit|abort               {"out"}: "ended", or the name of the exception that says why not
 */
public final class ToolShell {
    private static final ObjectMapper json = new ObjectMapper();
    private static final long waitMs = 60_000;
    private static final Map<String, Member> members = new HashMap<>();
    private static final Shares shares = new Shares();
    private static final Transactions transactions = new Transactions();
    private static String address;

    /** A tool asked for the end of the process; what it does afterwards, as catching this, does not count. */
    private static final class ToolExit extends RuntimeException {
        ToolExit() {
            super("the tool has ended", null, false, false);
        }
    }

    /** One run of a tool. */
    private static final class Run {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();
        private final ByteArrayOutputStream err = new ByteArrayOutputStream();
        private Map<String, Object> ended;

        void end(int code) {
            if (ended != null) return;
            ended = Map.of("code", code, "out", out.toString(StandardCharsets.UTF_8), "err", err.toString(StandardCharsets.UTF_8));
        }
    }

    private static Run running;

    public static void main(String[] args) throws Exception {
        address = args[0];
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Exit.setExitProcedure((code, message) -> {
            running.end(code);
            throw new ToolExit();
        });
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            List<String> words = new ArrayList<>();
            for (JsonNode word : json.readTree(line)) words.add(word.asText());
            Map<String, Object> answer;
            try {
                answer = run(words.get(0), words.subList(1, words.size()));
            } catch (Exception error) {
                answer = Map.of("failure", error.toString());
            }
            answers.println(json.writeValueAsString(answer));
        }
        for (Member member : members.values()) member.leave();
        shares.close();
        transactions.close();
        System.exit(0);
    }

    private static Map<String, Object> run(String command, List<String> words) throws Exception {
        switch (command) {
            case "tool":
                return tool(words.get(0), words.subList(1, words.size()).toArray(new String[0]));
            case "produce":
                produce(words.get(0), Integer.parseInt(words.get(1)), Long.parseLong(words.get(2)), Integer.parseInt(words.get(3)));
                return Map.of();
            case "commit":
                commit(words.get(0), new TopicPartition(words.get(1), Integer.parseInt(words.get(2))), Long.parseLong(words.get(3)), words.get(4));
                return Map.of();
            case "join":
                Member member = new Member(words.get(0), words.get(1), words.get(2), words.get(3), words.get(4));
                members.put(words.get(2), member);
                member.hold(Integer.parseInt(words.get(5)));
                return Map.of();
            case "hold":
                members.get(words.get(0)).hold(Integer.parseInt(words.get(1)));
                return Map.of();
            case "settle":
                members.get(words.get(0)).settle();
                return Map.of();
            case "leave":
                if (shares.has(words.get(0))) shares.leave(words.get(0));
                else members.remove(words.get(0)).leave();
                return Map.of();
            case "share-join":
                shares.join(address, words.get(0), words.get(1), words.get(2));
                return Map.of();
            case "share-read":
                shares.read(words.get(0), Integer.parseInt(words.get(1)));
                return Map.of();
            case "transactional":
                transactions.open(address, words.get(0), words.get(1));
                return Map.of();
            case "begin":
                transactions.begin(words.get(0));
                return Map.of();
            case "send":
                transactions.send(words.get(0), words.get(1), Integer.parseInt(words.get(2)), Integer.parseInt(words.get(3)));
                return Map.of();
            case "commit-within":
                TopicPartition partition = new TopicPartition(words.get(2), Integer.parseInt(words.get(3)));
                transactions.commit(words.get(0), words.get(1), partition, Long.parseLong(words.get(4)));
                return Map.of();
            case "end":
                return Map.of("out", transactions.end(words.get(0), words.get(1).equals("commit")));
            default:
                throw new IllegalArgumentException("no such command: " + command);
        }
    }

    private static Map<String, Object> tool(String name, String[] args) throws Exception {
        PrintStream out = System.out;
        PrintStream err = System.err;
        running = new Run();
        try {
            System.setOut(new PrintStream(running.out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(running.err, true, StandardCharsets.UTF_8));
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
            running.end(0);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof ToolExit)) thrown.getCause().printStackTrace(System.err);
            running.end(1);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        return running.ended;
    }

    private static void produce(String topic, int partition, long timestamp, int count) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", address);
        settings.put("acks", "all");
        settings.put("linger.ms", "100");
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<?>> sent = new ArrayList<>();
            for (int index = 0; index < count; index++) {
                String value = "value " + index;
                sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp + index * 1000L, "key " + index, value)));
            }
            producer.flush();
            for (Future<?> each : sent) each.get();
        }
    }

    private static void commit(String group, TopicPartition partition, long offset, String metadata) {
        Properties settings = consumerSettings(group, "classic", "by-hand");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(List.of(partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(offset, metadata)));
        }
    }

    private static Properties consumerSettings(String group, String protocol, String client) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", address);
        settings.put("group.id", group);
        settings.put("group.protocol", protocol);
        settings.put("client.id", client);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        if (protocol.equals("classic")) settings.put("heartbeat.interval.ms", "200");
        return settings;
    }

    /** A consumer in a thread of its own, as KafkaConsumer demands. */
    private static final class Member implements Runnable {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Thread thread;
        private volatile int held;
        private volatile boolean leaving;
        private volatile Throwable failure;
        private volatile CompletableFuture<Void> settling;

        Member(String group, String protocol, String client, String instance, String topic) {
            Properties settings = consumerSettings(group, protocol, client);
            if (!instance.isEmpty()) settings.put("group.instance.id", instance);
            consumer = new KafkaConsumer<>(settings);
            consumer.subscribe(List.of(topic));
            thread = new Thread(this, client);
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void run() {
            try {
                while (!leaving) {
                    consumer.poll(Duration.ofMillis(100));
                    held = consumer.assignment().size();
                    CompletableFuture<Void> asked = settling;
                    if (asked != null && hasReadAll()) {
                        consumer.commitSync();
                        settling = null;
                        asked.complete(null);
                    }
                }
            } catch (WakeupException woken) {
                // It leaves.
            } catch (Throwable thrown) {
                failure = thrown;
            } finally {
                consumer.close();
            }
        }

        private boolean hasReadAll() {
            for (Map.Entry<TopicPartition, Long> end : consumer.endOffsets(consumer.assignment()).entrySet()) {
                if (consumer.position(end.getKey()) < end.getValue()) return false;
            }
            return true;
        }

        void hold(int count) throws Exception {
            long deadline = System.currentTimeMillis() + waitMs;
            while (held != count) {
                if (failure != null) throw new IllegalStateException(thread.getName() + " failed: " + failure);
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(thread.getName() + " holds " + held + " partitions, not " + count);
                }
                Thread.sleep(20);
            }
        }

        void settle() throws Exception {
            CompletableFuture<Void> asked = new CompletableFuture<>();
            settling = asked;
            asked.get(waitMs, TimeUnit.MILLISECONDS);
        }

        void leave() throws InterruptedException {
            leaving = true;
            thread.join(waitMs);
        }
    }
}
