package zookeras;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.spark.SparkContext;
import org.apache.spark.TaskFailedReason;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.scheduler.SparkListenerJobEnd;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.apache.spark.status.api.v1.ExecutorSummary;

/**
 * What the driver's Python wants to know of the cluster: which executors there are, and which were
 * lost since the watch began. One line of text for each, fields parted by tabs. It ends the job that
 * it follows when one of the tasks fails that give the job's result: they are ranks, who need each
 * other, so Spark shall not try the one again while the others wait.
 */
public final class Watch extends SparkListener {
  private static final String TAGS = "spark.job.tags";
  private final SparkContext context;
  private final List<String> lost = new ArrayList<>();
  private String tag = "";
  private int job = -1;
  private int stage = -1;
  private boolean ended;
  private String failure;

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

  /** Names the job to follow, by its tag. */
  public synchronized void follow(String jobTag) {
    tag = jobTag;
  }

  /** How the first rank has failed, in Spark's words; null as long as none has. */
  public synchronized String failure() {
    return failure;
  }

  @Override
  public synchronized void onJobStart(SparkListenerJobStart start) {
    String tags = start.properties() == null ? "" : start.properties().getProperty(TAGS, "");
    if (!tag.isEmpty() && Arrays.asList(tags.split(",")).contains(tag)) {
      job = start.jobId();
      stage = lastStage(start);
    }
  }

  /** The stage that gives the result: it was made after those that it needs. */
  private static int lastStage(SparkListenerJobStart start) {
    int last = -1;
    try {
      Object ids = Blocks.call(Blocks.method(start.getClass(), "stageIds"), start);
      scala.collection.Iterator<?> each = ((scala.collection.Iterable<?>) ids).iterator();
      while (each.hasNext()) {
        last = Math.max(last, (Integer) each.next());
      }
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
    return last;
  }

  @Override
  public synchronized void onJobEnd(SparkListenerJobEnd end) {
    ended |= end.jobId() == job;
  }

  @Override
  public synchronized void onTaskEnd(SparkListenerTaskEnd end) {
    boolean isRank = end.stageId() == stage && end.taskInfo().attemptNumber() == 0;
    if (isRank && !ended && failure == null && end.reason() instanceof TaskFailedReason why) {
      failure = why.toErrorString();
      context.cancelJob(job, "rank " + end.taskInfo().index() + " has failed");
    }
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
