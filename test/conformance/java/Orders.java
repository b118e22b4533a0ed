import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * A table that somebody works on: {@code Orders JDBC_URL SEED ROWS PAUSE_MS}. It begins with so many rows; then rows
 * come, change and go, a few in each transaction and some transactions rolled back, until standard input ends.
 * Prints "ready", and each change once it is committed: OPERATION (c, u or d) ID CHANGE.
 */
public final class Orders {
    private static final PrintStream OUT =
        new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, StandardCharsets.UTF_8);

    private final Random random;
    private final List<Integer> ids = new ArrayList<>();
    private int nextId;
    private int nextChange;
    private volatile boolean inputEnded;

    public static void main(String[] args) throws Exception {
        try (Connection connection = DriverManager.getConnection(args[0]); Statement sql = connection.createStatement()) {
            new Orders(Long.parseLong(args[1])).work(connection, sql, Integer.parseInt(args[2]), Long.parseLong(args[3]));
        }
    }

    private Orders(long seed) {
        random = new Random(seed);
    }

    private void work(Connection connection, Statement sql, int rows, long pauseMs) throws Exception {
        sql.execute("create table orders (id integer primary key, change integer not null, note text)");
        connection.setAutoCommit(false);
        for (int row = 0; row < rows; row++) OUT.println(insert(sql));
        connection.commit();
        OUT.println("ready");
        OUT.flush();
        watchInput();
        while (!inputEnded) {
            List<Integer> before = List.copyOf(ids);
            List<String> changes = new ArrayList<>();
            for (int left = 1 + random.nextInt(5); left > 0; left--) changes.add(change(sql));
            if (random.nextInt(5) == 0) {
                connection.rollback();
                ids.clear();
                ids.addAll(before);
            } else {
                connection.commit();
                changes.forEach(OUT::println);
                OUT.flush();
            }
            Thread.sleep(pauseMs);
        }
    }

    private void watchInput() {
        Thread reader = new Thread(() -> {
            try {
                while (System.in.read() != -1) continue;
            } catch (IOException broken) {
                // It has ended as well.
            }
            inputEnded = true;
        });
        reader.setDaemon(true);
        reader.start();
    }

    private String change(Statement sql) throws Exception {
        int kind = random.nextInt(10);
        if (ids.isEmpty() || kind < 4) return insert(sql);
        int index = random.nextInt(ids.size());
        int id = ids.get(index);
        if (kind < 8) {
            sql.executeUpdate("update orders set change = " + nextChange + " where id = " + id);
            return "u " + id + " " + nextChange++;
        }
        sql.executeUpdate("delete from orders where id = " + id);
        ids.remove(index);
        return "d " + id + " " + nextChange++;
    }

    private String insert(Statement sql) throws Exception {
        int id = nextId++;
        ids.add(id);
        sql.executeUpdate("insert into orders values (" + id + ", " + nextChange + ", 'order " + id + "')");
        return "c " + id + " " + nextChange++;
    }
}
