package zookeras;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.TaskKilledException;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.api.java.function.FlatMapFunction2;

/**
 * Goes between an RDD and a Python function. It starts the bridge in the very JVM that feeds the
 * Python worker, and puts the bridge's address in front of the data as one more item. With a second
 * RDD, its data follow after the same item again. Items are pickled batches, or plain bytes (Arrow
 * batches). A rank runs once: copies of a running task (speculation) and retries are refused.
 */
public final class Start
    implements FlatMapFunction<Iterator<Object>, Object>,
        FlatMapFunction2<Iterator<Object>, Iterator<Object>, Object> {
  private static final long serialVersionUID = 1L;
  private static final int MOST_REFUSALS = 20;
  private final boolean pickled;

  public Start(boolean pickled) {
    this.pickled = pickled;
  }

  @Override
  public Iterator<Object> call(Iterator<Object> rows) throws IOException {
    return inTurn(List.<Object>of(item()).iterator(), rows);
  }

  @Override
  public Iterator<Object> call(Iterator<Object> rows, Iterator<Object> more) throws IOException {
    byte[] item = item();
    return inTurn(List.<Object>of(item).iterator(), rows, List.<Object>of(item).iterator(), more);
  }

  private byte[] item() throws IOException {
    TaskContext task = TaskContext.get();
    refuseAgain(task);
    byte[] text = Bridge.lease(task).address().getBytes(StandardCharsets.UTF_8);
    return pickled ? pickle(text) : text;
  }

  /**
   * Refuses what is no first attempt. As killed, not failed, for Spark would count failures of a
   * copy and give up the job; but not for ever, should nobody end the job of a rank that has failed.
   */
  private static void refuseAgain(TaskContext task) {
    if (task.attemptNumber() > MOST_REFUSALS) {
      throw new IllegalStateException("rank " + task.partitionId() + " has failed");
    }
    if (task.attemptNumber() > 0 || task.stageAttemptNumber() > 0) {
      throw new TaskKilledException("rank " + task.partitionId() + " runs only once");
    }
  }

  /** A list of one str, as pickle protocol 2 writes it. */
  private static byte[] pickle(byte[] text) {
    ByteBuffer out = ByteBuffer.allocate(text.length + 10).order(ByteOrder.LITTLE_ENDIAN);
    out.put((byte) 0x80).put((byte) 2).put((byte) ']');
    out.put((byte) 'X').putInt(text.length).put(text);
    return out.put((byte) 'a').put((byte) '.').array();
  }

  @SafeVarargs
  private static Iterator<Object> inTurn(Iterator<Object>... parts) {
    return new Iterator<>() {
      private int at;

      @Override
      public boolean hasNext() {
        while (at < parts.length && !parts[at].hasNext()) {
          at++;
        }
        return at < parts.length;
      }

      @Override
      public Object next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        return parts[at].next();
      }
    };
  }
}
