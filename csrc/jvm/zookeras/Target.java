package zookeras;

import io.netty.buffer.ByteBuf;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.util.List;

/**
 * The place in a region where one fetched block goes, filled from front to back. Once revoked it
 * takes no byte more, so that a transfer which outlives its exchange cannot touch memory that has
 * been given back.
 */
final class Target {
  private final ByteBuffer[] pieces;
  private final long size;
  private int piece;
  private long filled;
  private boolean revoked;

  Target(List<ByteBuffer> places) {
    pieces = places.toArray(new ByteBuffer[0]);
    long sum = 0;
    for (ByteBuffer place : pieces) {
      sum += place.capacity();
    }
    size = sum;
    restart();
  }

  long size() {
    return size;
  }

  /** Back to the front: Spark may ask for a block again after a broken connection. */
  synchronized void restart() {
    for (ByteBuffer place : pieces) {
      place.clear();
    }
    piece = 0;
    filled = 0;
  }

  synchronized void revoke() {
    revoked = true;
  }

  synchronized void write(ByteBuffer source) throws IOException {
    check(source.remaining());
    while (source.hasRemaining()) {
      ByteBuffer place = place();
      int n = Math.min(place.remaining(), source.remaining());
      ByteBuffer part = source.slice(source.position(), n);
      place.put(part);
      source.position(source.position() + n);
    }
  }

  void writeAll(ByteBuffer source) {
    try {
      write(source);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  synchronized void write(ByteBuf source) throws IOException {
    check(source.readableBytes());
    while (source.isReadable()) {
      ByteBuffer place = place();
      int n = Math.min(place.remaining(), source.readableBytes());
      ByteBuffer part = place.slice(place.position(), n);
      source.readBytes(part);
      place.position(place.position() + n);
    }
  }

  private void check(long more) throws IOException {
    if (revoked) {
      throw new ClosedChannelException();
    }
    if (more > size - filled) {
      throw new IOException("more bytes came than the " + size + " expected");
    }
    filled += more;
  }

  private ByteBuffer place() {
    while (!pieces[piece].hasRemaining()) {
      piece++;
    }
    return pieces[piece];
  }

  /** Fails unless every byte has come. */
  synchronized void finish() throws IOException {
    if (filled != size) {
      throw new IOException(filled + " bytes came where " + size + " were expected");
    }
  }
}
