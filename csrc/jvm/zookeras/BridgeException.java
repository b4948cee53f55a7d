package zookeras;

/** A failure with a kind that Python turns into its own exception. */
final class BridgeException extends Exception {
  static final int OTHER = 1;
  static final int TIMEOUT = 2;
  static final int PEER_LOST = 3;
  static final int CANCELLED = 4;
  private static final long serialVersionUID = 1L;

  final int kind;

  BridgeException(int kind, String message) {
    super(message);
    this.kind = kind;
  }
}
