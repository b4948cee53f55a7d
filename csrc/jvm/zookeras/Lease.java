package zookeras;

import java.util.HashSet;
import java.util.Set;
import org.apache.spark.TaskContext;
import org.apache.spark.util.TaskCompletionListener;

/**
 * The right of one Spark task (or of the driver's Python) to use the bridge. It ends with the task;
 * the driver's ends with its last connection. Ending it closes the connections, and with them goes
 * all they have published.
 */
final class Lease implements TaskCompletionListener {
  final long number;
  private final Bridge bridge;
  private final TaskContext task;
  private final Set<Connection> connections = new HashSet<>();

  Lease(Bridge bridge, long number, TaskContext task) {
    this.bridge = bridge;
    this.number = number;
    this.task = task;
    if (task != null) {
      task.addTaskCompletionListener(this);
    }
  }

  /** What a Python process needs to connect: where, the secret, and this lease's number. */
  String address() {
    return bridge.address() + ":" + number;
  }

  /** Why Spark wants the task to stop, or null. */
  String cancelled() {
    if (task == null || !task.isInterrupted()) {
      return null;
    }
    scala.Option<String> reason = task.getKillReason();
    return reason.isDefined() ? reason.get() : "the task was killed";
  }

  synchronized void add(Connection connection) {
    connections.add(connection);
  }

  void remove(Connection connection) {
    boolean last;
    synchronized (this) {
      connections.remove(connection);
      last = connections.isEmpty();
    }
    if (last && task == null) {
      bridge.end(this);
    }
  }

  @Override
  public void onTaskCompletion(TaskContext context) {
    close();
    bridge.end(this);
  }

  void close() {
    Set<Connection> open;
    synchronized (this) {
      open = new HashSet<>(connections);
    }
    open.forEach(Connection::close);
  }
}
