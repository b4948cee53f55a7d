package zookeras;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * Reads the fields of one request in order. Every length is checked against what is there before
 * memory is taken; numbers are big-endian, text is UTF-8 with two bytes of length.
 */
final class Request {
  private final ByteBuffer body;

  Request(ByteBuffer body) {
    this.body = body;
  }

  int op() {
    return body.get() & 0xff;
  }

  int number() {
    return body.getInt();
  }

  long longNumber() {
    return body.getLong();
  }

  boolean flag() {
    return body.get() != 0;
  }

  String text() {
    byte[] bytes = new byte[checked(body.getShort() & 0xffff, 1)];
    body.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** How many items follow, each of at least {@code itemBytes}. */
  int count(int itemBytes) {
    return checked(body.getInt(), itemBytes);
  }

  private int checked(int count, int itemBytes) {
    if (count < 0 || (long) count * itemBytes > body.remaining()) {
      throw new IllegalArgumentException("a count of " + count + " does not fit the request");
    }
    return count;
  }
}
