/* An intrusive, circular, doubly linked list. A head is a struct list that points to itself; so is an unlinked member. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_is_empty(const struct list *l) { return l->next == l; }
static inline void list_insert_before(struct list *position, struct list *l)
{
	l->prev = position->prev;
	l->next = position;
	position->prev->next = l;
	position->prev = l;
}
static inline void list_append(struct list *head, struct list *l) { list_insert_before(head, l); }
static inline void list_prepend(struct list *head, struct list *l) { list_insert_before(head->next, l); }
/* Safe on an unlinked member: it is unlinked again. */
static inline void list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}
/* Moves all of @from to the end of @to; @from is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(l, type, member) container_of(l, type, member)
#define list_first(head, type, member) (list_is_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_last(head, type, member) (list_is_empty(head) ? NULL : list_entry((head)->prev, type, member))
#define list_for_each(it, head, member)                                                                                \
	for ((it) = list_entry((head)->next, __typeof__(*(it)), member); &(it)->member != (head);                      \
	     (it) = list_entry((it)->member.next, __typeof__(*(it)), member))
/* As list_for_each, and @it may be removed or freed inside; @tmp is its successor. */
#define list_for_each_safe(it, tmp, head, member)                                                                      \
	for ((it) = list_entry((head)->next, __typeof__(*(it)), member),                                               \
	    (tmp) = list_entry((it)->member.next, __typeof__(*(it)), member);                                          \
	     &(it)->member != (head); (it) = (tmp), (tmp) = list_entry((tmp)->member.next, __typeof__(*(tmp)), member))
