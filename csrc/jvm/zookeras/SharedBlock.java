package zookeras;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.apache.spark.util.io.ChunkedByteBuffer;

/**
 * A Spark block over memory of ours. Spark may neither unmap it nor count it against the executor's
 * storage memory, which is heap: so it disposes of nothing, and has no size for a thread that puts
 * or removes it ({@link #uncounted}). For all others its size never changes once it is shown: one that writes a
 * frame for a peer would announce fewer bytes than it sends.
 */
class SharedBlock extends ChunkedByteBuffer implements Predicate<Consumer<ByteBuffer>> {
  private static final long serialVersionUID = 1L;
  private static final ThreadLocal<Boolean> UNCOUNTED = ThreadLocal.withInitial(() -> false);
  private final transient ReadWriteLock lock = new ReentrantReadWriteLock();
  private volatile boolean shown;
  private volatile boolean pinned; // before, the memory store might evict it and count it

  SharedBlock(List<ByteBuffer> parts) {
    super(parts.toArray(new ByteBuffer[0]));
  }

  interface Call<T, E extends Exception> {
    T call() throws E;
  }

  /** Runs a call of Spark's memory store, which sees no size here. */
  static <T, E extends Exception> T uncounted(Call<T, E> store) throws E {
    UNCOUNTED.set(true);
    try {
      return store.call();
    } finally {
      UNCOUNTED.remove();
    }
  }

  void show() {
    pinned = true;
    shown = true;
  }

  /** From here on no byte is handed out; returns when none is being read. */
  void hide() {
    lock.writeLock().lock();
    shown = false;
    lock.writeLock().unlock();
  }

  /** Hands out all bytes, in parts that are good until then; false, and none, when hidden. */
  @Override
  public boolean test(Consumer<ByteBuffer> reader) {
    lock.readLock().lock();
    try {
      if (!shown) {
        return false;
      }
      for (ByteBuffer part : getChunks()) {
        reader.accept(part.duplicate());
      }
      return true;
    } finally {
      lock.readLock().unlock();
    }
  }

  @Override
  public long size() {
    return UNCOUNTED.get() || !pinned ? 0 : super.size();
  }

  @Override
  public void dispose() {}
}
