import kafka.server.KafkaConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.storage.internals.log.LogConfig;

/** Prints the keys of a Kafka broker and of its topics, one a line: where, name, type, default. */
class KeyTable {
  public static void main(String[] arguments) {
    print("broker", KafkaConfig.configDef());
    print("topic", LogConfig.configDefCopy());
  }

  private static void print(String where, ConfigDef keys) {
    for (ConfigDef.ConfigKey key : keys.configKeys().values()) {
      if (key.internalConfig) continue;
      String value = key.hasDefault() ? ConfigDef.convertToString(key.defaultValue, key.type) : null;
      System.out.println(where + "\t" + key.name + "\t" + key.type + "\t" + value);
    }
  }
}
