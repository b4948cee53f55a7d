package zookeras;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.status.api.v1.ExecutorSummary;

/**
 * What the driver's Python wants to know of the cluster: which executors there are, and which were
 * lost since the watch began. One line of text for each, fields parted by tabs.
 */
public final class Watch extends SparkListener {
  private final SparkContext context;
  private final List<String> lost = new ArrayList<>();

  private Watch(SparkContext context) {
    this.context = context;
  }

  /** Starts to listen. Must be stopped. */
  public static Watch begin(SparkContext context) {
    Watch watch = new Watch(context);
    context.addSparkListener(watch);
    return watch;
  }

  public void stop() {
    context.removeSparkListener(this);
  }

  @Override
  public synchronized void onExecutorRemoved(SparkListenerExecutorRemoved removed) {
    lost.add(removed.executorId() + "\t" + removed.reason().replaceAll("\\s+", " "));
  }

  /** "executor TAB reason" for each executor lost since the beginning. */
  public synchronized String lost() {
    return String.join("\n", lost);
  }

  /** "executor TAB host:port TAB cores" for each executor that is alive. */
  public static String executors(SparkContext context) throws IOException {
    Object all =
        Blocks.call(
            Blocks.method(context.statusStore().getClass(), "executorList", boolean.class),
            context.statusStore(),
            true);
    StringBuilder lines = new StringBuilder();
    scala.collection.Iterator<?> each = ((scala.collection.Iterable<?>) all).iterator();
    while (each.hasNext()) {
      ExecutorSummary one = (ExecutorSummary) each.next();
      lines.append(one.id()).append('\t').append(one.hostPort()).append('\t');
      lines.append(one.totalCores()).append('\n');
    }
    return lines.toString();
  }
}
