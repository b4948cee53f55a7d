package zookeras;

import io.netty.buffer.ByteBuf;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.BlockTransferService;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.network.buffer.NioManagedBuffer;
import org.apache.spark.network.shuffle.BlockFetchingListener;
import org.apache.spark.network.shuffle.DownloadFile;
import org.apache.spark.network.shuffle.DownloadFileManager;
import org.apache.spark.network.shuffle.DownloadFileWritableChannel;
import org.apache.spark.network.util.TransportConf;

/**
 * Brings blocks of one peer into their targets through Spark's block transfer. Small blocks come
 * together and are copied when whole; large ones are streamed into the region as frames arrive,
 * without memory of their own.
 */
final class Fetch implements BlockFetchingListener {
  /** From this size on streaming is quicker (measured: level at 1 to 4 MB, 1.5 times at 50 MB). */
  private static final long STREAM_FROM = 4 << 20;

  private final Peer peer;
  private final Map<String, Target> targets = new ConcurrentHashMap<>();
  private final AtomicInteger missing;
  private final AtomicBoolean ended = new AtomicBoolean();
  private final Consumer<Throwable> whenDone;

  /** {@code whenDone} is told once: null when all has come, else the first error. */
  Fetch(Peer peer, List<String> names, List<Target> places, Consumer<Throwable> whenDone) {
    this.peer = peer;
    this.whenDone = whenDone;
    missing = new AtomicInteger(names.size());
    for (int i = 0; i < names.size(); i++) {
      targets.put(Blocks.wireName(names.get(i)), places.get(i));
    }
  }

  void start() {
    if (targets.isEmpty()) {
      end(null);
      return;
    }
    BlockTransferService service = SparkEnv.get().blockManager().blockTransferService();
    String[] small =
        targets.keySet().stream().filter(n -> !isLarge(n)).toArray(String[]::new);
    if (small.length > 0) {
      service.fetchBlocks(peer.host(), peer.port(), peer.executor(), small, this, null);
    }
    for (Map.Entry<String, Target> block : targets.entrySet()) {
      if (isLarge(block.getKey())) {
        String[] one = {block.getKey()};
        Stream stream = new Stream(block.getValue());
        service.fetchBlocks(peer.host(), peer.port(), peer.executor(), one, this, stream);
      }
    }
  }

  private boolean isLarge(String name) {
    return targets.get(name).size() >= STREAM_FROM;
  }

  @Override
  public void onBlockFetchSuccess(String name, ManagedBuffer data) {
    try {
      Target target = targets.get(name);
      if (!isLarge(name)) {
        copy(data, target);
      }
      target.finish();
      if (missing.decrementAndGet() == 0) {
        end(null);
      }
    } catch (IOException | RuntimeException e) {
      end(e);
    }
  }

  /**
   * By way of Netty's buffer, which is read piece by piece; an NIO view of it would be merged
   * first.
   */
  private static void copy(ManagedBuffer data, Target target) throws IOException {
    target.restart();
    ByteBuf bytes = (ByteBuf) data.convertToNetty();
    try {
      target.write(bytes);
    } finally {
      bytes.release();
    }
  }

  @Override
  public void onBlockFetchFailure(String name, Throwable error) {
    end(error);
  }

  private void end(Throwable error) {
    if (ended.compareAndSet(false, true)) {
      whenDone.accept(error);
    }
  }

  /** Gives Spark a "file" to download into that is a target. */
  private record Stream(Target target)
      implements DownloadFileManager, DownloadFile, DownloadFileWritableChannel {
    @Override
    public DownloadFile createTempFile(TransportConf conf) {
      target.restart();
      return this;
    }

    @Override
    public boolean registerTempFileToClean(DownloadFile file) {
      return true;
    }

    @Override
    public boolean delete() {
      return true;
    }

    @Override
    public DownloadFileWritableChannel openForWriting() {
      return this;
    }

    @Override
    public String path() {
      return "shared memory";
    }

    @Override
    public int write(ByteBuffer source) throws IOException {
      int n = source.remaining();
      target.write(source);
      return n;
    }

    @Override
    public ManagedBuffer closeAndRead() {
      return new NioManagedBuffer(ByteBuffer.allocate(0));
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }
}
