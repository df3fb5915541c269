/* Spiking networks with delays, tick by tick, in memory that the caller owns: nothing is allocated, and no floating-point
   instruction is executed. Reads model files with i8 weights (.pcn, version 1: core/FORMAT.md).

   A network is used by one thread or interrupt at a time; several networks may share a file. A pointer that is not NULL has
   to be valid; NULL is an error. A call that fails leaves the network as it was. */
#ifndef POLYCHRON_H
#define POLYCHRON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What functions of type int return. */
enum {
    POLYCHRON_OK = 0,
    POLYCHRON_NULL = 1,      /* a pointer is NULL */
    POLYCHRON_FILE = 2,      /* no model with i8 weights, or not all of it: see polychron_fault */
    POLYCHRON_ALIGNMENT = 3, /* an address that is not a multiple of what it has to be */
    POLYCHRON_MEMORY = 4,    /* less memory than polychron_memory says */
    POLYCHRON_CHANNEL = 5,   /* a channel that the model does not have */
    POLYCHRON_COUNT = 6,     /* not one value a channel; or longer than an array can be, such as (size_t)-1 */
    POLYCHRON_VALUE = 7      /* -128; or, where channels spike, other than 0 and 1 */
};

typedef struct polychron polychron;

/* Bytes of memory that a network of this file needs, 0 for a bad file. They are fewer where pointers are shorter: for an array
   of a fixed size ask on the device. This function and the next two check the whole file, in time in proportion to its length and
   with about 6 KiB of stack where pointers have 32 bits; all others take less than 1 KiB. */
size_t polychron_memory(const uint8_t *file, size_t length);

/* The offset of the file's first fault in bytes, SIZE_MAX for a good file, 0 for NULL. 4 is another version, 6 are other weights,
   8 is another length, 12 are damaged bytes. */
size_t polychron_fault(const uint8_t *file, size_t length);

/* A network before its first tick, or NULL with an error. The file is used in place: file and memory belong to the network until
   it is no longer used; there is nothing to close. The memory begins at a multiple of 8; what is in it does not matter. */
int polychron_open(const uint8_t *file, size_t length, void *memory, size_t size, polychron **network);

/* One tick, in which these channels spike, in any order; with a count of 0, none, and channels may be NULL. A channel that
   is named twice spikes once. Where channels have values it has the value 1. */
int polychron_step(polychron *network, const uint16_t *channels, size_t count);

/* One tick, in which every channel has a value of -127 to 127; 0 or 1 where channels spike. The count is the number of channels. */
int polychron_step_values(polychron *network, const int8_t *values, size_t count);

/* Ends an utterance: the silent ticks in which its last spikes arrive. */
int polychron_finish(polychron *network);

/* Forgets everything: the next tick is the first. */
int polychron_reset(polychron *network);

/* Begins the scores anew; spikes on their way stay. A score ends at INT32_MAX, at the soonest after 65535 ticks. */
int polychron_forget_scores(polychron *network);

/* The class with the highest score so far, the first of equals; SIZE_MAX for NULL. */
size_t polychron_decide(const polychron *network);

/* The score of class n so far, in a unit of the model's own: where it sums a softmax 32768 a tick, divided among the classes.
   INT32_MIN for NULL or a class that is not there. */
int32_t polychron_score(const polychron *network, size_t n);

/* The name of class n, UTF-8, in the file: length bytes without a 0 behind them. NULL and a length of 0 where it has none. */
const char *polychron_label(const polychron *network, size_t n, size_t *length);

/* The length of a tick in microseconds, the number of channels and of classes; 0 for NULL. */
uint32_t polychron_tick_us(const polychron *network);
size_t polychron_channels(const polychron *network);
size_t polychron_classes(const polychron *network);

#ifdef __cplusplus
}
#endif

#endif
