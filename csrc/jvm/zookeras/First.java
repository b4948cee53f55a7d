package zookeras;

import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.FlatMapFunction;

/**
 * The first item of a partition, and no bytes in place of one that is too long to be sent to the
 * driver for a look. Items are pickled batches of records.
 */
public final class First implements FlatMapFunction<Iterator<Object>, Object> {
  private static final long serialVersionUID = 1L;
  private static final int LONGEST = 4 << 20;

  @Override
  public Iterator<Object> call(Iterator<Object> items) {
    if (!items.hasNext()) {
      return List.of().iterator();
    }
    Object first = items.next();
    boolean tooLong = first instanceof byte[] bytes && bytes.length > LONGEST;
    return List.of(tooLong ? new byte[0] : first).iterator();
  }
}
