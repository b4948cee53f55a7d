package zookeras;

import io.netty.handler.stream.ChunkedStream;
import java.nio.ByteBuffer;
import java.util.List;
import org.apache.spark.util.io.ChunkedByteBufferFileRegion;

/**
 * A block of 8 bytes whose being fetched is the message: "rank {@code from} is ready for an
 * exchange whose number has these last two bits". Four for each rank that may ring, so that a fetch
 * repeated by Spark counts once.
 */
final class Bell extends SharedBlock {
  static final int KINDS = 4;
  static final int BYTES = 8;
  private static final long serialVersionUID = 1L;

  private final transient Group group;
  private final int from;
  private final int bits;

  Bell(Group group, int from, int bits) {
    super(List.of(ByteBuffer.allocateDirect(BYTES)));
    this.group = group;
    this.from = from;
    this.bits = bits;
  }

  @Override
  public ChunkedByteBufferFileRegion toNetty() {
    group.rang(from, bits);
    return super.toNetty();
  }

  /**
   * Called by Spark 4 in place of {@link #toNetty} when RPC runs over SSL; unknown to Spark 3.5,
   * hence no @Override.
   */
  public ChunkedStream toNettyForSsl() {
    group.rang(from, bits);
    return new ChunkedStream(toInputStream(false), BYTES);
  }
}
