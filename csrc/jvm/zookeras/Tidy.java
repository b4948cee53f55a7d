package zookeras;

import java.io.File;
import java.lang.ref.Cleaner;
import org.apache.spark.api.python.PythonBroadcast;

/**
 * Removes the file of a broadcast value when nothing can ask for it any more: no plan, no RDD and
 * no Python object. Spark keeps such files until the session ends.
 */
public final class Tidy {
  private static final Cleaner CLEANER = Cleaner.create();

  private Tidy() {}

  public static void whenGone(PythonBroadcast sent) {
    File file = new File(sent.path());
    CLEANER.register(sent, file::delete);
  }
}
