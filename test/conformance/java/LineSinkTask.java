import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Map;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/**
 * A sink that does what Connect leaves to sinks that want to write exactly once: the offset stands beside the
 * line in the file, so that a task that was killed goes on where the file ends and not where the group's
 * committed offset is. A line of the file is OFFSET tab LINE.
 */
public final class LineSinkTask extends SinkTask {
    private RandomAccessFile file;
    /** Of the last line in the file; -1: none. */
    private long last = -1;

    @Override
    public void start(Map<String, String> settings) {
        try {
            file = new RandomAccessFile(settings.get("file"), "rw");
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public void open(Collection<TopicPartition> partitions) {
        try {
            byte[] bytes = new byte[Math.toIntExact(file.length())];
            file.seek(0);
            file.readFully(bytes);
            String text = new String(bytes, StandardCharsets.UTF_8);
            // A line that a kill cut off did not count.
            int end = text.lastIndexOf('\n') + 1;
            file.setLength(text.substring(0, end).getBytes(StandardCharsets.UTF_8).length);
            file.seek(file.length());
            if (end == 0) return;
            String line = text.substring(text.lastIndexOf('\n', end - 2) + 1, end);
            last = Long.parseLong(line.substring(0, line.indexOf('\t')));
            for (TopicPartition partition : partitions) context.offset(partition, last + 1);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public void put(Collection<SinkRecord> records) {
        StringBuilder lines = new StringBuilder();
        for (SinkRecord record : records) {
            if (record.kafkaOffset() <= last) continue;
            lines.append(record.kafkaOffset()).append('\t').append(record.value()).append('\n');
            last = record.kafkaOffset();
        }
        try {
            file.write(lines.toString().getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public Map<TopicPartition, OffsetAndMetadata> preCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
        return offsets;
    }

    @Override
    public void stop() {
        try {
            file.close();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public String version() {
        return "1";
    }
}
