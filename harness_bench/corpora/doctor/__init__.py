"""What a prepared corpus is like: counted, compared with what is known of it, listened to."""
