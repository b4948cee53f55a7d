package zookeras;

import java.io.Closeable;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * Memory shared with one Python process. A ByteBuffer holds less than 2 GB, so a large region is
 * several mappings of 1 GB; a part of it is then a list of buffers. Must be closed only when no
 * block and no transfer uses it.
 */
final class Mapping implements Closeable {
  private static final int PIECE_BITS = 30;
  private static final long PIECE = 1L << PIECE_BITS;

  private final long size;
  private final MappedByteBuffer[] pieces;
  private boolean closed;

  Mapping(String path, long size) throws IOException {
    this.size = size;
    try (FileChannel file =
        FileChannel.open(Path.of(path), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      if (size < 1 || file.size() < size) {
        throw new IOException("a region of " + size + " bytes in a file of " + file.size());
      }
      pieces = new MappedByteBuffer[(int) ((size + PIECE - 1) >> PIECE_BITS)];
      for (int i = 0; i < pieces.length; i++) {
        long at = i * PIECE;
        pieces[i] = file.map(FileChannel.MapMode.READ_WRITE, at, Math.min(PIECE, size - at));
      }
    }
  }

  /** Appends the buffers that cover {@code length} bytes from {@code offset}. */
  synchronized void slice(long offset, long length, List<ByteBuffer> into) {
    if (closed || offset < 0 || length < 0 || offset > size - length) {
      throw new IllegalArgumentException(
          "bytes " + offset + " to " + (offset + length) + " of a region of " + size);
    }
    long end = offset + length;
    while (offset < end) {
      int from = (int) (offset & (PIECE - 1));
      int taken = (int) Math.min(PIECE - from, end - offset);
      into.add(pieces[(int) (offset >> PIECE_BITS)].slice(from, taken));
      offset += taken;
    }
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      for (MappedByteBuffer piece : pieces) {
        Unmap.now(piece);
      }
    }
  }

  static List<ByteBuffer> list() {
    return new ArrayList<>(1);
  }

  /**
   * Java has no public way to unmap; without it the memory would stay until a garbage collection.
   */
  private static final class Unmap {
    private static final Object UNSAFE;
    private static final Method CLEAN;

    static {
      try {
        Class<?> type = Class.forName("sun.misc.Unsafe");
        Field field = type.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        UNSAFE = field.get(null);
        CLEAN = type.getMethod("invokeCleaner", ByteBuffer.class);
      } catch (ReflectiveOperationException e) {
        throw new ExceptionInInitializerError(e);
      }
    }

    static void now(MappedByteBuffer piece) {
      try {
        CLEAN.invoke(UNSAFE, piece);
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException(e);
      }
    }
  }
}
