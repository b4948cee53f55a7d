package zookeras;

import java.nio.ByteBuffer;
import java.util.List;
import org.apache.spark.util.io.ChunkedByteBuffer;

/**
 * A Spark block over memory of ours. Spark may neither unmap it nor count it against the executor's
 * storage memory, which is heap: so it disposes of nothing and shows its size only between {@link
 * #show} and {@link #hide}.
 */
class SharedBlock extends ChunkedByteBuffer {
  private static final long serialVersionUID = 1L;
  private volatile boolean shown;

  SharedBlock(List<ByteBuffer> parts) {
    super(parts.toArray(new ByteBuffer[0]));
  }

  void show() {
    shown = true;
  }

  void hide() {
    shown = false;
  }

  @Override
  public long size() {
    return shown ? super.size() : 0;
  }

  @Override
  public void dispose() {}
}
