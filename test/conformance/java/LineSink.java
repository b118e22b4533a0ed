import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;

/** Writes the lines of one partition into a file, each exactly once: see {@link LineSinkTask}. */
public final class LineSink extends SinkConnector {
    private Map<String, String> config;

    @Override
    public void start(Map<String, String> settings) {
        config = settings;
    }

    @Override
    public Class<? extends Task> taskClass() {
        return LineSinkTask.class;
    }

    @Override
    public List<Map<String, String>> taskConfigs(int tasksMax) {
        return List.of(config);
    }

    @Override
    public void stop() {
        // Its task has everything.
    }

    @Override
    public ConfigDef config() {
        return new ConfigDef().define("file", ConfigDef.Type.STRING, ConfigDef.Importance.HIGH, "where the lines go");
    }

    @Override
    public String version() {
        return "1";
    }
}
