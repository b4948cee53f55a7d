package zookeras;

import io.netty.util.ReferenceCountUtil;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.storage.BlockData;
import org.apache.spark.storage.BlockId;
import org.apache.spark.storage.BlockManager;
import org.apache.spark.storage.BlockManagerId;
import org.apache.spark.storage.StorageLevel;
import org.apache.spark.storage.TestBlockId;
import org.apache.spark.util.io.ChunkedByteBuffer;

/**
 * Our blocks in this JVM's BlockManager. Each is put once and read-locked, so that it is never
 * evicted; its memory may change under it at will. What differs between Spark 3.5 and 4.x is called
 * by reflection.
 */
final class Blocks {
  private static final Method PUT_BYTES = method(BlockManager.class, "putBytes");
  private static final String PREFIX = "zookeras-";
  private static final ConcurrentMap<String, SharedBlock> OURS = new ConcurrentHashMap<>();

  private Blocks() {}

  private static BlockManager store() {
    SparkEnv env = SparkEnv.get();
    if (env == null) {
      throw new IllegalStateException("Spark has stopped in this process");
    }
    return env.blockManager();
  }

  static BlockManagerId here() {
    return store().blockManagerId();
  }

  /**
   * Spark's id for a block of ours: of the kinds it lets others make, the one that carries any
   * name.
   */
  private static TestBlockId id(String name) {
    return new TestBlockId(PREFIX + name);
  }

  /** The name under which peers fetch the block {@code name}. */
  static String wireName(String name) {
    return id(name).name();
  }

  /** How many blocks of ours this JVM holds. */
  static int count() throws IOException {
    String start = wireName("");
    scala.Function1<BlockId, Object> ours = id -> id.name().startsWith(start);
    Method find = method(BlockManager.class, "getMatchingBlockIds");
    return ((scala.collection.Iterable<?>) call(find, store(), ours)).size();
  }

  /** Publishes a block. Only with {@code tellMaster} can it be found by {@link #locate}. */
  static void put(String name, SharedBlock block, boolean tellMaster) throws IOException {
    if (OURS.putIfAbsent(name, block) != null) {
      throw new IOException("block " + name + " exists already");
    }
    boolean kept = false;
    try {
      kept = putBytes(id(name), block, tellMaster) && store().getLocalBytes(id(name)).isDefined();
    } finally {
      if (!kept) {
        OURS.remove(name);
      }
    }
    if (!kept) {
      throw new IOException("the block manager did not take block " + name);
    }
    block.show();
  }

  private static boolean putBytes(BlockId id, SharedBlock block, boolean tellMaster)
      throws IOException {
    Class<?>[] types = PUT_BYTES.getParameterTypes();
    Object[] values = new Object[types.length];
    values[0] = id;
    values[1] = block;
    values[2] = StorageLevel.MEMORY_ONLY_SER();
    values[3] = tellMaster;
    for (int i = 4; i < types.length - 1; i++) {
      values[i] = call(method(BlockManager.class, "putBytes$default$" + (i + 1)), store());
    }
    values[types.length - 1] = scala.reflect.ClassTag$.MODULE$.apply(byte.class);
    return SharedBlock.uncounted(() -> (Boolean) call(PUT_BYTES, store(), values));
  }

  /** Takes a block back; returns when no peer is being sent it any more. */
  static void remove(String name, boolean tellMaster) {
    SharedBlock block = OURS.remove(name);
    if (block == null) {
      return;
    }
    block.hide();
    if (SparkEnv.get() == null) {
      return;
    }
    release(name);
    SharedBlock.uncounted(
        () -> {
          store().removeBlock(id(name), tellMaster);
          return null;
        });
  }

  private static void release(String name) {
    store().releaseLock(id(name), scala.Option.<TaskContext>apply(null));
  }

  /** Rings a bell that hangs in this very process. */
  static void ring(String name) throws IOException {
    BlockData bell = local(name);
    try {
      ReferenceCountUtil.release(bell.toNetty());
    } finally {
      release(name);
    }
  }

  /**
   * Copies a block of this process. Under its own lock: of Spark's, a reader that meets a block on
   * its way out may be given that of the next one with this name. The block may have been put by
   * another class loader, so it is known by types of Java alone.
   */
  static void copy(String name, Target target) throws IOException {
    scala.Option<ChunkedByteBuffer> found = store().memoryStore().getBytes(id(name));
    if (found.isEmpty() || !(found.get() instanceof Predicate<?> block)) {
      throw missing(name);
    }
    @SuppressWarnings("unchecked")
    Predicate<Consumer<ByteBuffer>> ours = (Predicate<Consumer<ByteBuffer>>) block;
    try {
      if (!ours.test(target::writeAll)) {
        throw missing(name);
      }
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    target.finish();
  }

  private static IOException missing(String name) {
    return new IOException("block " + name + " is not there");
  }

  private static BlockData local(String name) throws IOException {
    scala.Option<BlockData> data = store().getLocalBytes(id(name));
    if (data.isEmpty()) {
      throw missing(name);
    }
    return data.get();
  }

  /** Who has a block that was put with tellMaster; null when nobody has. Asks the driver. */
  static BlockManagerId locate(String name) throws IOException {
    Object[] id = {id(name)};
    Method ask = method(store().master().getClass(), "getLocations", BlockId.class);
    scala.collection.Iterator<?> places =
        ((scala.collection.Iterable<?>) call(ask, store().master(), id)).iterator();
    return places.hasNext() ? (BlockManagerId) places.next() : null;
  }

  /** The first public method of that name which begins with these parameters. */
  static Method method(Class<?> type, String name, Class<?>... first) {
    for (Method m : type.getMethods()) {
      if (m.getName().equals(name) && startsWith(m.getParameterTypes(), first)) {
        return m;
      }
    }
    throw new NoSuchMethodError(type.getName() + "." + name);
  }

  private static boolean startsWith(Class<?>[] all, Class<?>[] first) {
    for (int i = 0; i < first.length; i++) {
      if (i >= all.length || all[i] != first[i]) {
        return false;
      }
    }
    return true;
  }

  static Object call(Method method, Object self, Object... values) throws IOException {
    try {
      return method.invoke(self, values);
    } catch (InvocationTargetException e) {
      throw new IOException(String.valueOf(e.getCause()), e.getCause());
    } catch (IllegalAccessException e) {
      throw new IOException(e);
    }
  }
}
