package zookeras;

import java.io.IOException;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;

/**
 * One per JVM while somebody uses it: lets the Python processes of this JVM use Spark's
 * BlockManager. Python shares memory with it, publishes parts of that memory as blocks, and has
 * blocks of other executors fetched into it. Commands come through a socket, bytes never do. Starts
 * with the first lease and goes with the last.
 */
public final class Bridge {
  private static Bridge current;
  private static long leases;

  private final Door door;
  private final String secret;
  private final Map<Long, Lease> open = new ConcurrentHashMap<>();
  private final Thread atExit = new Thread(this::closeDoor, "zookeras-exit");

  private Bridge() throws IOException {
    byte[] random = new byte[Line.SECRET_BYTES / 2];
    new SecureRandom().nextBytes(random);
    secret = HexFormat.of().formatHex(random);
    door = Door.open(SparkEnv.get().conf());
    Runtime.getRuntime().addShutdownHook(atExit);
    Connection.daemon("zookeras-accept", this::acceptAll);
  }

  /** The address of this JVM's bridge for the driver's own Python process. */
  public static String openForDriver() throws IOException {
    return lease(null).address();
  }

  /** A lease for the running task; it ends when the task does. */
  static Lease lease(TaskContext task) throws IOException {
    synchronized (Bridge.class) {
      if (current == null) {
        current = new Bridge();
      }
      Lease lease = new Lease(current, ++leases, task);
      current.open.put(lease.number, lease);
      return lease;
    }
  }

  String address() {
    return door.address() + ":" + secret;
  }

  private void acceptAll() {
    try {
      for (; ; ) {
        Line line = door.accept();
        Connection.daemon("zookeras-connection", () -> greet(line));
      }
    } catch (IOException e) {
      // the door has been closed
    }
  }

  /** Lets in a caller who knows the secret and holds a lease; hangs up on all others. */
  private void greet(Line line) {
    try (line) {
      if (line.knows(secret)) {
        Lease lease = open.get(line.leaseNumber());
        if (lease != null) {
          new Connection(line, lease).serve();
        }
      }
    } catch (IOException e) {
      // the caller has gone
    }
  }

  void end(Lease lease) {
    synchronized (Bridge.class) {
      open.remove(lease.number);
      if (open.isEmpty() && current == this) {
        current = null;
        closeDoor();
        forgetExit();
      }
    }
  }

  private void forgetExit() {
    try {
      Runtime.getRuntime().removeShutdownHook(atExit);
    } catch (IllegalStateException e) {
      // the JVM is on its way out: the hook does it
    }
  }

  private void closeDoor() {
    try {
      door.close();
    } catch (IOException e) {
      // the files are gone already
    }
  }
}
