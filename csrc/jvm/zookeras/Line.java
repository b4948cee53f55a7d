package zookeras;

import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/**
 * A connection to one Python process. In: requests of at most 16 MB (4 bytes of length, then the
 * body). Out: answers (a status byte, 4 bytes of length, the body). Knows bytes only.
 */
final class Line implements Closeable {
  static final int SECRET_BYTES = 32;
  private static final int LONGEST_REQUEST = 16 << 20;
  private static final int SECRET_TIMEOUT_MS = 10_000;

  private final DataInputStream in;
  private final OutputStream out;
  private final Closeable socket;

  private Line(InputStream in, OutputStream out, Closeable socket) {
    this.in = new DataInputStream(new BufferedInputStream(in, 1 << 16));
    this.out = out;
    this.socket = socket;
  }

  static Line of(SocketChannel channel) {
    return new Line(Channels.newInputStream(channel), Channels.newOutputStream(channel), channel);
  }

  static Line of(Socket socket) throws IOException {
    socket.setTcpNoDelay(true);
    socket.setSoTimeout(SECRET_TIMEOUT_MS);
    return new Line(socket.getInputStream(), socket.getOutputStream(), socket);
  }

  /** Reads the caller's secret and compares it in constant time. */
  boolean knows(String secret) throws IOException {
    byte[] said = new byte[SECRET_BYTES];
    in.readFully(said);
    if (socket instanceof Socket tcp) {
      tcp.setSoTimeout(0);
    }
    return MessageDigest.isEqual(said, secret.getBytes(StandardCharsets.US_ASCII));
  }

  /** The number of the lease the caller was given. */
  long leaseNumber() throws IOException {
    return in.readLong();
  }

  /** The next request; null when the caller has hung up. */
  Request next() throws IOException {
    int length;
    try {
      length = in.readInt();
    } catch (EOFException e) {
      return null;
    }
    if (length < 1 || length > LONGEST_REQUEST) {
      throw new IOException("a request of " + length + " bytes");
    }
    byte[] body = new byte[length];
    in.readFully(body);
    return new Request(ByteBuffer.wrap(body));
  }

  void answer(int status, byte[] body) throws IOException {
    ByteBuffer frame = ByteBuffer.allocate(5 + body.length);
    frame.put((byte) status).putInt(body.length).put(body);
    out.write(frame.array());
    out.flush();
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
