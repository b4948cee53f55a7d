/* The elementwise operations that a chain instruction can hold, in the order of their numbers. */
#ifndef ZK_TILES_H
#define ZK_TILES_H
#define ZK_TILES(X) X(neg) X(add)
#define ZK_COUNT_(name) +1
#define ZK_NTILES (0 ZK_TILES(ZK_COUNT_))
#endif
