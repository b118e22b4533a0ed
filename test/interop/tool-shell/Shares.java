import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Members of share groups that stay until they are told to leave, and accept whatever they are given. */
final class Shares {
    private static final long waitMs = 60_000;

    private final Map<String, Member> members = new HashMap<>();

    void join(String address, String group, String client, String topic) {
        members.put(client, new Member(address, group, client, topic));
    }

    /** Returns when the member has been given so many records, and was told that they are done. */
    void read(String client, int count) throws Exception {
        Member member = members.get(client);
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(waitMs);
        while (member.done < count) {
            if (member.failure != null) throw new IllegalStateException(client + ": " + member.failure);
            if (System.nanoTime() > end) throw new IllegalStateException(client + " was given " + member.done + " records");
            Thread.sleep(20);
        }
    }

    void leave(String client) throws Exception {
        members.remove(client).leave();
    }

    boolean has(String client) {
        return members.containsKey(client);
    }

    void close() throws Exception {
        for (Member member : members.values()) member.leave();
    }

    private static final class Member implements Runnable {
        private final KafkaShareConsumer<byte[], byte[]> consumer;
        private final Thread thread;
        private volatile int done;
        private volatile boolean leaving;
        private volatile Throwable failure;

        Member(String address, String group, String client, String topic) {
            Properties settings = new Properties();
            settings.put("bootstrap.servers", address);
            settings.put("group.id", group);
            settings.put("client.id", client);
            settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
            settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
            consumer = new KafkaShareConsumer<>(settings);
            consumer.subscribe(List.of(topic));
            thread = new Thread(this, client);
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void run() {
            try {
                while (!leaving) {
                    int count = consumer.poll(Duration.ofMillis(100)).count();
                    if (count == 0) continue;
                    consumer.commitSync();
                    done += count;
                }
            } catch (WakeupException woken) {
                // It leaves.
            } catch (Throwable error) {
                failure = error;
            } finally {
                consumer.close();
            }
        }

        void leave() throws InterruptedException {
            leaving = true;
            thread.join(waitMs);
        }
    }
}
